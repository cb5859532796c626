// no_exceptions DEMO_SERVER: compiled with -fno-exceptions, results say what failed.
#include <leash.hpp>

#include "check.hpp"

using leash::code;

int main(int argc, char **argv) {
  CHECK(argc == 2);
  auto missing = leash::connection::try_open({"/nonexistent/server"});
  CHECK(!missing && missing.error().code() == code::connect && missing.error().os_error() == 2);

  auto opened = leash::connection::try_open({argv[1]});
  CHECK(opened.has_value());
  leash::connection c = *std::move(opened);
  auto answer = c.try_call("echo", "[1]");
  CHECK(answer && answer->json() == "[1]");
  auto refused = c.try_call("nope");
  CHECK(!refused && refused.error().code() == code::rpc && refused.error().rpc_code() == -32601);
  CHECK(c.try_notify("initialized"));
  CHECK(c.try_close());
  int events = 0;
  auto range = c.events();
  for (leash::event &e : range) events += e.kind() != leash::kind::none;
  CHECK(events == 2 && !range.failure());
  std::puts("fine");
}
