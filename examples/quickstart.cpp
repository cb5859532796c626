// quickstart SERVER [ARGUMENT...]: run a command through an exec-server, in C++17.
// c++ -std=c++17 quickstart.cpp -lleash; ./a.out codex exec-server --listen stdio
#include <iostream>
#include <leash.hpp>

int main(int argc, char **argv) try {
  using namespace std::chrono_literals;
  auto options = leash::options().protocol(leash::protocol::bare).exit_after(2s);
  auto server = leash::connection::open({argc - 1, argv + 1}, options);

  server.call("initialize", R"({"clientName":"quickstart"})");
  server.notify("initialized");
  server.call("process/start", R"({"processId":"p1","cwd":"file:///tmp","tty":false,"arg0":null,
    "env":{"PATH":"/usr/bin:/bin"},"argv":["sh","-c","echo line 1; echo oops >&2; exit 3"]})");

  for (leash::event &e : server.events(10s)) {
    if (e.kind() != leash::kind::notify) continue;
    std::cout << e.method() << " " << e.json() << "\n";
    if (e.method() == "process/closed") break;
  }
  server.close();
  for (leash::event &e : server.events()) {
    if (e.kind() == leash::kind::closed) std::cout << "closed: exit code " << *e.exit_code() << "\n";
  }
} catch (const leash::error &error) {
  std::cerr << error.what() << "\n";
  return 1;
}
