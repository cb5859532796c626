/* Other threads start programs at the same moment as leash_connect:
 *
 *   hygiene COUNT CHECKER SERVER...
 *
 * One thread connects and frees all the time. Two others execute CHECKER
 * (inherits.c) COUNT times in all, by fork and by vfork: with handlers of
 * pthread_atfork and without. Prints what happened. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leash.h"

static char *checker;
static const char *const *server;
static int count;
static int connections, failures, leaks;
static int done;

static void *connect_all_the_time(void *unused) {
  leash_opts *opts = leash_opts_new();
  leash_opts_set_int(opts, LEASH_OPT_STDERR, 1);
  while (!__atomic_load_n(&done, __ATOMIC_RELAXED)) {
    leash_conn *conn = NULL;
    if (leash_connect(server, opts, 10000, &conn) < 0) {
      fprintf(stderr, "connect: %s\n", leash_last_error());
      failures++;
      break;
    }
    leash_free(conn);
    connections++;
  }
  leash_opts_free(opts);
  return unused;
}

static pid_t start(int by_fork) {
  char *argv[] = {checker, NULL};
  pid_t pid = by_fork ? fork() : vfork();
  if (pid == 0) {
    execv(checker, argv);
    _exit(255);
  }
  return pid;
}

static void *start_all_the_time(void *unused) {
  for (int i = 0; i < count / 2; i++) {
    int status = 0;
    pid_t pid = start(i % 2);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
      __atomic_fetch_add(&leaks, 1, __ATOMIC_RELAXED);
  }
  return unused;
}

int main(int argc, char **argv) {
  pthread_t connecting, starting[2];
  if (argc < 4) return 64;
  count = atoi(argv[1]);
  checker = argv[2];
  server = (const char *const *)argv + 3;
  for (int fd = 3; fd < 1024; fd++) close(fd);
  pthread_create(&connecting, NULL, connect_all_the_time, NULL);
  for (int i = 0; i < 2; i++) pthread_create(&starting[i], NULL, start_all_the_time, NULL);
  for (int i = 0; i < 2; i++) pthread_join(starting[i], NULL);
  __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
  pthread_join(connecting, NULL);
  printf("%d started, %d connections meanwhile, %d inherited something\n", count, connections, leaks);
  return leaks > 0 || failures > 0 || connections == 0;
}
