/* What the guard costs: leash_connect and leash_close against vfork, exec and
 * kill by hand, in a small and in a large host.
 *
 *   guard MEGABYTES SERVER...
 *
 * The server says something when it is ready, and ends at end-of-file. Both
 * ways make three pipes, and time ends when the program is executed. They take
 * turns; a figure is the median over the rounds of the median of each round. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "leash.h"

enum { ROUNDS = 9, TIMES = 30, GUARDS = 20 };

enum what { PLAIN_CONNECT, PLAIN_CLOSE, PLAIN_KILL, CONNECT, CLOSE, FIGURES };

static char **server;
static double figures[FIGURES][ROUNDS];
static double samples[FIGURES][TIMES];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void fail(const char *what) {
  fprintf(stderr, "%s: %s %s\n", what, leash_last_error(), strerror(errno));
  exit(1);
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, size_t n) {
  qsort(values, n, sizeof *values, compare);
  return values[n / 2];
}

/* ---- by hand */

struct plain {
  pid_t pid;
  int in, out, err;
};

static struct plain plain_connect(void) {
  struct plain made;
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
    fail("pipe");
  made.pid = vfork();
  if (made.pid == 0) {
    dup2(in[0], 0);
    dup2(out[1], 1);
    dup2(err[1], 2);
    execv(server[0], server);
    _exit(127);
  }
  if (made.pid < 0) fail("vfork");
  close(in[0]);
  close(out[1]);
  close(err[1]);
  made.in = in[1];
  made.out = out[0];
  made.err = err[0];
  return made;
}

static void plain_await(const struct plain *one) {
  char byte = 0;
  while (byte != '\n')
    if (read(one->out, &byte, 1) != 1) fail("read");
}

static void plain_close(const struct plain *one, int by_signal) {
  if (by_signal) kill(one->pid, SIGKILL);
  close(one->in);
  if (waitpid(one->pid, NULL, 0) != one->pid) fail("waitpid");
  close(one->out);
  close(one->err);
}

/* ---- by the library */

static leash_conn *guarded_connect(void) {
  leash_conn *conn = NULL;
  if (leash_connect((const char *const *)server, NULL, 10000, &conn) < 0) fail("connect");
  return conn;
}

static void guarded_await(leash_conn *conn) {
  int is_ready = 0;
  while (!is_ready) {
    leash_event *e = NULL;
    if (leash_poll(conn, 10000, &e) != 1) fail("poll");
    is_ready = leash_event_kind(e) == LEASH_EVENT_NOTIFY;
    leash_event_free(e);
  }
}

static void guarded_close(leash_conn *conn) {
  if (leash_close(conn, -1) < 0) fail("close");
}

/* ---- measuring */

static void measure_plain(int i, enum what connect, enum what end) {
  double begin = now();
  struct plain one = plain_connect();
  samples[connect][i] = now() - begin;
  plain_await(&one);
  begin = now();
  plain_close(&one, end == PLAIN_KILL);
  samples[end][i] = now() - begin;
}

static void measure_guarded(int i) {
  double begin = now();
  leash_conn *conn = guarded_connect();
  samples[CONNECT][i] = now() - begin;
  guarded_await(conn);
  begin = now();
  guarded_close(conn);
  samples[CLOSE][i] = now() - begin;
  leash_free(conn);
}

static void measure(size_t megabytes) {
  double value[FIGURES];
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < TIMES; i++) {
      measure_plain(i, PLAIN_CONNECT, PLAIN_KILL);
      measure_plain(i, PLAIN_CONNECT, PLAIN_CLOSE);
      measure_guarded(i);
    }
    for (int what = 0; what < FIGURES; what++)
      figures[what][round] = median(samples[what], TIMES);
  }
  for (int what = 0; what < FIGURES; what++) value[what] = median(figures[what], ROUNDS);
  printf("%8zu MB %12s %12.0f %12.0f %12.0f %12.0f\n", megabytes, "connect", value[PLAIN_CONNECT],
         value[CONNECT], value[CONNECT] - value[PLAIN_CONNECT], 600.0);
  printf("%8zu MB %12s %12.0f %12.0f %12.0f %12.0f\n", megabytes, "close", value[PLAIN_CLOSE],
         value[CLOSE], value[CLOSE] - value[PLAIN_CLOSE], 1000.0);
  printf("%8zu MB %12s %12.0f %12.0f %12.0f\n", megabytes, "(by SIGKILL)", value[PLAIN_KILL],
         value[CLOSE], value[CLOSE] - value[PLAIN_KILL]);
  fflush(stdout);
}

static void touch(size_t megabytes) {
  size_t bytes = megabytes << 20;
  char *memory =
      (char *)mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == (char *)MAP_FAILED) fail("mmap");
  madvise(memory, bytes, MADV_NOHUGEPAGE);
  for (size_t i = 0; i < bytes; i += 4096) memory[i] = 1;
}

/* Proportional and resident kilobytes of the process that started `pid`. */
static void guard_memory(int pid, long *pss, long *rss) {
  char path[64], text[512];
  int guard = 0;
  FILE *file;
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  file = fopen(path, "r");
  if (!file || !fgets(text, sizeof text, file)) fail(path);
  sscanf(strrchr(text, ')') + 1, " %*c %d", &guard);
  fclose(file);
  snprintf(path, sizeof path, "/proc/%d/smaps_rollup", guard);
  file = fopen(path, "r");
  if (!file) fail(path);
  while (fgets(text, sizeof text, file)) {
    sscanf(text, "Pss: %ld", pss);
    sscanf(text, "Rss: %ld", rss);
  }
  fclose(file);
}

static void measure_memory(void) {
  leash_conn *conns[GUARDS];
  double pss[GUARDS], rss[GUARDS];
  for (int i = 0; i < GUARDS; i++) guarded_await(conns[i] = guarded_connect());
  for (int i = 0; i < GUARDS; i++) {
    long p = 0, r = 0;
    guard_memory((int)leash_conn_int(conns[i], LEASH_INT_PID), &p, &r);
    pss[i] = (double)p;
    rss[i] = (double)r;
  }
  printf("guard: PSS %.0f KB, goal 40; resident %.0f KB (median of %d)\n", median(pss, GUARDS),
         median(rss, GUARDS), GUARDS);
  for (int i = 0; i < GUARDS; i++) leash_free(conns[i]);
}

int main(int argc, char **argv) {
  if (argc < 3) return 64;
  size_t large = (size_t)atoll(argv[1]);
  server = argv + 2;
  printf("%11s %12s %12s %12s %12s %12s\n", "touched", "us", "plain", "guarded", "more", "goal");
  touch(10);
  measure(10);
  if (large > 10) {
    touch(large - 10);
    measure(large);
  }
  measure_memory();
  return 0;
}
