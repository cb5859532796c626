/* load SERVER: open the library by its soname, and print how many microseconds passed until
 * its first function had returned. Before the first connection it has no thread. */
#include <dirent.h>
#include <dlfcn.h>
#include <leash.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static int threads(void) {
  int count = 0;
  DIR *tasks = opendir("/proc/self/task");
  while (tasks && readdir(tasks)) count++;
  if (tasks) closedir(tasks);
  return count - 2; /* "." and ".." */
}

static void check(int good, const char *what) {
  if (good) return;
  fprintf(stderr, "%s\n", what);
  exit(1);
}

/* C99 has no cast from an object to a function: the bytes are the same (POSIX, dlsym). */
#define FUNCTION(name) (__extension__(__typeof__(&name))dlsym(library, #name))

int main(int argc, char **argv) {
  double began = microseconds();
  void *library = dlopen("libleash.so.0", RTLD_NOW | RTLD_LOCAL);
  check(library != NULL && argc > 1, "it cannot be opened");
  uint32_t number = 0, abi = 9;
  FUNCTION(leash_version)(&number, &abi);
  double took = microseconds() - began;
  check(number >= LEASH_VERSION_NUMBER && abi == LEASH_ABI, "it is another version");

  leash_opts *opts = FUNCTION(leash_opts_new)();
  check(threads() == 1, "it has a thread before the first connection");
  leash_conn *server = NULL;
  int status = FUNCTION(leash_connect)((const char *const *)argv + 1, opts, 5000, &server);
  check(status == 0, FUNCTION(leash_last_error)());
  check(threads() == 2, "it has not one thread");
  FUNCTION(leash_free)(server);
  FUNCTION(leash_opts_free)(opts);
  check(dlclose(library) == 0, "it cannot be closed");
  printf("%.0f\n", took);
  return 0;
}
