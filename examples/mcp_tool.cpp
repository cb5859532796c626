// mcp_tool TOOL ARGUMENTS SERVER [ARGUMENT...]: call a tool of an MCP server, and be the language
// model that it asks: "sampling" is a request of the server, while it works on ours.
// c++ -std=c++17 mcp_tool.cpp -lleash
// ./a.out trigger-sampling-request '{"prompt":"a joke"}' mcp-server-everything stdio
#include <iostream>
#include <leash.hpp>

namespace {

// Whoever has a model asks it here. Until we answer, the server waits.
void answer(const leash::event &request) {
  std::cout << "the server asks: " << request.method() << " " << request.json() << "\n";
  if (request.method() == "sampling/createMessage")
    request.reply(R"({"role":"assistant","model":"none","stopReason":"endTurn",
      "content":{"type":"text","text":"I have no model, but I can count: 1, 2, 3."}})");
  else if (request.method() == "roots/list")
    request.reply(R"({"roots":[]})");
  else if (request.method() == "ping")
    request.reply("{}");
  else
    request.reply_error(-32601, "this client cannot do that");
}

}  // namespace

int main(int argc, char **argv) try {
  using namespace std::chrono_literals;
  if (argc < 4) {
    std::cerr << "usage: " << argv[0] << " TOOL ARGUMENTS SERVER [ARGUMENT...]\n";
    return 2;
  }
  // Many MCP servers ignore the end of their input: do not wait long for it.
  auto options = leash::options().protocol(leash::protocol::mcp).exit_after(300ms);
  auto server = leash::connection::open({argc - 3, argv + 3}, options);

  server.call("initialize", R"({"protocolVersion":"2025-06-18","capabilities":{"sampling":{}},
    "clientInfo":{"name":"mcp_tool","version":"1"}})", 20s);
  server.notify("notifications/initialized");

  // A tool's name is plain text, and its arguments are JSON: what is not, submit refuses.
  std::string params = "{\"name\":\"" + std::string(argv[1]) + "\",\"arguments\":" + argv[2] + "}";
  auto call = server.submit("tools/call", params, 60s);

  for (leash::event &e : server.events(60s)) {
    if (e.kind() == leash::kind::request) answer(e);
    if (e.kind() == leash::kind::stderr_line) std::cerr << e.text() << "\n";
    if (e.kind() != leash::kind::response || e.call() != call) continue;
    if (e.status() != leash::code::ok) throw e.failure();
    std::cout << "result: " << e.json() << "\n";
    return 0;  // the end of `server` waits until nothing of it is left
  }
  std::cerr << "no result came\n";
  return 1;
} catch (const leash::error &error) {
  std::cerr << error.what() << "\n";
  return 1;
}
