// The other half of odr_a.cpp, which has the words of Qt.
#define forever for (;;)
#include <leash.hpp>

#ifndef forever
#error "leash.hpp took a macro away"
#endif

long use_elsewhere(leash_conn *c) {
  leash::result<int> result = 1;
  auto nothing = leash::connection().try_call("x");
  auto options = leash::options().env("A", "b");
  return result && !nothing && !options.failure()
             ? static_cast<long>(leash_conn_int(c, LEASH_INT_PID))
             : 0;
}

const void *version_elsewhere() {
  return leash::version().data();
}
