// odr_a DEMO_SERVER: this file and odr_b.cpp make one program; it links, and both see one thing.
#include <leash.hpp>

#include "check.hpp"

long use_elsewhere(leash_conn *c);
const void *version_elsewhere();

int main(int argc, char **argv) {
  CHECK(argc == 2);
  auto c = leash::connection::try_open({argv[1]});
  CHECK(c && c->try_call("echo", "[1]"));
  CHECK(use_elsewhere(c->get()) == *c->pid());
  CHECK(version_elsewhere() == static_cast<const void *>(leash::version().data()));
  std::puts("fine");
}
