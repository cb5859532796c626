/* The library and the floor, one after the other in the same process, round by round.
 *
 *   host SCENARIO ROUNDS SERVER
 *
 * Each line of output is one figure of one round: name, unit, floor, libleash. The runner,
 * ../floor.rs, makes medians of their ratio. LEASH_BENCH_MB is memory to touch first, and with
 * LEASH_BENCH_SESSION the floor's server has a session of its own, as the library's has. */
#include <dlfcn.h>
#include <dirent.h>
#include <leash.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "plain.h"
#include "plain_ws.h"

#define MEGA 1000000u

static char **server;
static int rounds;

static void print(const char *name, const char *unit, double floor_, double leash) {
  printf("%s\t%s\t%.4f\t%.4f\n", name, unit, floor_, leash);
  fflush(stdout);
}

/* ---- the library */

static void leash_fail(const char *what, int code) {
  fprintf(stderr, "%s: %d %s\n", what, code, leash_last_error());
  exit(1);
}

static int must(const char *what, int code) {
  if (code < 0) leash_fail(what, code);
  return code;
}

static leash_conn *start_with(int option, int64_t value) {
  leash_opts *opts = leash_opts_new();
  leash_conn *conn = NULL;
  if (option) must("leash_opts_set_int", leash_opts_set_int(opts, option, value));
  must("leash_connect", leash_connect((const char *const *)server, opts, 30000, &conn));
  leash_opts_free(opts);
  return conn;
}

static leash_conn *start(void) { return start_with(0, 0); }

static size_t call(leash_conn *conn, const char *method, const char *params, size_t length) {
  leash_event *answer = NULL;
  size_t size = 0;
  must("leash_call", leash_call(conn, method, params, length, 60000, &answer));
  leash_event_str(answer, LEASH_STR_JSON, &size);
  leash_event_free(answer);
  return size;
}

/* Take events until so many answers have come. */
static void take_answers(leash_conn *conn, size_t wanted) {
  while (wanted > 0) {
    leash_event *e = NULL;
    if (must("leash_poll", leash_poll(conn, 60000, &e)) == 0) leash_fail("no event", 0);
    wanted -= leash_event_kind(e) == LEASH_EVENT_RESPONSE;
    leash_event_free(e);
  }
}

static void submit(leash_conn *conn, const char *method, const char *params) {
  must("leash_submit", leash_submit(conn, method, params, LEASH_NUL, 60000, 0, NULL));
}

/* ---- one caller */

static const char ECHO[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":[1]}\n";

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* In microseconds. */
static double quantile(uint64_t *sorted, size_t n, double q) {
  return (double)sorted[(size_t)((double)(n - 1) * q)] / 1e3;
}

static void plain_echo(struct plain *p) {
  plain_send(p, ECHO, sizeof ECHO - 1);
  plain_line(p);
}

static void leash_echo(leash_conn *conn) { call(conn, "echo", "[1]", 3); }

/* One caller in each way, in turns. */
static void compare_echoes(const char *name, void (*floor_)(void *), void *floor_of,
                           leash_conn *conn) {
  enum { BLOCKS = 16, BLOCK = 250, N = BLOCKS * BLOCK };
  static uint64_t floor_times[N], leash_times[N];
  char p50[80], p99[80];
  sprintf(p50, "%s, p50", name), sprintf(p99, "%s, p99", name);
  for (int round = -1; round < rounds; round++) {
    uint64_t *f = floor_times, *l = leash_times;
    for (int block = 0; block < BLOCKS; block++) {
      for (int i = 0; i < BLOCK; i++) {
        uint64_t begun = now();
        floor_(floor_of);
        *f++ = now() - begun;
      }
      for (int i = 0; i < BLOCK; i++) {
        uint64_t begun = now();
        leash_echo(conn);
        *l++ = now() - begun;
      }
    }
    qsort(floor_times, N, sizeof *floor_times, compare);
    qsort(leash_times, N, sizeof *leash_times, compare);
    if (round < 0) continue; /* warming up */
    print(p50, "us", quantile(floor_times, N, 0.5), quantile(leash_times, N, 0.5));
    print(p99, "us", quantile(floor_times, N, 0.99), quantile(leash_times, N, 0.99));
  }
}

static void echo_of(void *plain) { plain_echo(plain); }

static void roundtrip(void) {
  struct plain p = plain_start(server, 65536);
  leash_conn *conn = start();
  compare_echoes("round trip", echo_of, &p, conn);
  plain_end(&p);
  leash_free(conn);
}

/* ---- by WebSocket */

struct ws {
  int fd;
  char frame[128];
  size_t length;
};

static struct ws ws_start(const struct listener *l) {
  struct ws ws = {.fd = plain_ws_open(l)};
  ws.length = plain_ws_frame("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":[1]}", ws.frame);
  return ws;
}

static void ws_echo_of(void *argument) {
  struct ws *ws = argument;
  plain_ws_echo(ws->fd, ws->frame, ws->length);
}

static leash_conn *dial(const struct listener *l) {
  leash_opts *opts = leash_opts_new();
  leash_conn *conn = NULL;
  must("leash_opts_set_str", leash_opts_set_str(opts, LEASH_OPT_URL, l->url));
  must("leash_connect", leash_connect(NULL, opts, 30000, &conn));
  leash_opts_free(opts);
  return conn;
}

static void ws_roundtrip(void) {
  struct listener l = listener_start(server);
  struct ws ws = ws_start(&l);
  leash_conn *conn = dial(&l);
  compare_echoes("WebSocket round trip", ws_echo_of, &ws, conn);
  close(ws.fd);
  leash_free(conn);
  listener_end(&l);
}

/* ---- 64 threads */

enum { THREADS = 64, EACH = 250 };

struct crowd {
  struct plain p;
  leash_conn *conn;
  pthread_mutex_t writing;
  pthread_barrier_t gate;
  sem_t answered[THREADS];
};

struct member {
  struct crowd *crowd;
  int number;
};

static void *plain_member(void *argument) {
  struct member *self = argument;
  struct crowd *crowd = self->crowd;
  char text[128];
  int length = snprintf(text, sizeof text,
                        "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"echo\",\"params\":[1]}\n",
                        self->number);
  pthread_barrier_wait(&crowd->gate);
  for (int i = 0; i < EACH; i++) {
    pthread_mutex_lock(&crowd->writing);
    plain_send(&crowd->p, text, (size_t)length);
    pthread_mutex_unlock(&crowd->writing);
    while (sem_wait(&crowd->answered[self->number]) < 0) continue;
  }
  return NULL;
}

static void *leash_member(void *argument) {
  struct member *self = argument;
  pthread_barrier_wait(&self->crowd->gate);
  for (int i = 0; i < EACH; i++) leash_echo(self->crowd->conn);
  return NULL;
}

/* Reads for all of them, and wakes who is meant. */
static void *plain_reader(void *argument) {
  struct crowd *crowd = argument;
  size_t held = 0;
  for (;;) {
    ssize_t n = read(crowd->p.out, crowd->p.buffer + held, crowd->p.room - held);
    if (n <= 0) return NULL;
    char *at = crowd->p.buffer, *end = at + held + n, *newline;
    while ((newline = memchr(at, '\n', (size_t)(end - at)))) {
      char *id = memmem(at, (size_t)(newline - at), "\"id\":", 5);
      sem_post(&crowd->answered[atoi(id + 5)]);
      at = newline + 1;
    }
    held = (size_t)(end - at);
    memmove(crowd->p.buffer, at, held);
  }
}

/* Calls a second. */
static double run_crowd(struct crowd *crowd, void *(*work)(void *)) {
  pthread_t threads[THREADS];
  struct member members[THREADS];
  for (int i = 0; i < THREADS; i++) {
    members[i] = (struct member){crowd, i};
    pthread_create(&threads[i], NULL, work, &members[i]);
  }
  pthread_barrier_wait(&crowd->gate);
  uint64_t begun = now();
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  return THREADS * EACH * 1e9 / (double)(now() - begun);
}

static void threads(void) {
  struct crowd crowd;
  pthread_t reader;
  crowd.p = plain_start(server, 65536);
  crowd.conn = start();
  pthread_mutex_init(&crowd.writing, NULL);
  pthread_barrier_init(&crowd.gate, NULL, THREADS + 1);
  for (int i = 0; i < THREADS; i++) sem_init(&crowd.answered[i], 0, 0);
  pthread_create(&reader, NULL, plain_reader, &crowd);
  for (int round = -1; round < rounds; round++) {
    double f = run_crowd(&crowd, plain_member), l = run_crowd(&crowd, leash_member);
    if (round >= 0) print("64 threads", "calls/s", f, l);
  }
  leash_free(crowd.conn);
  close(crowd.p.in); /* ends the server, and so the reader */
  pthread_join(reader, NULL);
  waitpid(crowd.p.pid, NULL, 0);
}

/* ---- 64 in flight from one thread */

enum { FLIGHT = 64, FLIGHTS = 300 };

static double plain_flights(struct plain *p) {
  static char batch[FLIGHT * sizeof ECHO];
  size_t length = 0;
  for (int i = 0; i < FLIGHT; i++, length += sizeof ECHO - 1)
    memcpy(batch + length, ECHO, sizeof ECHO);
  uint64_t begun = now();
  for (int flight = 0; flight < FLIGHTS; flight++) {
    plain_send(p, batch, length);
    plain_lines(p, FLIGHT);
  }
  return FLIGHT * FLIGHTS * 1e9 / (double)(now() - begun);
}

static double leash_flights(leash_conn *conn) {
  uint64_t begun = now();
  for (int flight = 0; flight < FLIGHTS; flight++) {
    for (int i = 0; i < FLIGHT; i++) submit(conn, "echo", "[1]");
    take_answers(conn, FLIGHT);
  }
  return FLIGHT * FLIGHTS * 1e9 / (double)(now() - begun);
}

static void inflight(void) {
  struct plain p = plain_start(server, 65536);
  leash_conn *plain = start(), *corked = start_with(LEASH_OPT_CORK, 1);
  for (int round = -1; round < rounds; round++) {
    double f = plain_flights(&p), c = leash_flights(corked), l = leash_flights(plain);
    if (round < 0) continue;
    print("64 in flight, corked", "calls/s", f, c);
    print("64 in flight, a write each", "calls/s", f, l);
  }
  leash_free(plain);
  leash_free(corked);
  plain_end(&p);
}

/* ---- notifications */

static void flood(void) {
  enum { N = 200000 };
  static const char ask[] =
      "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"flood\",\"params\":{\"size\":200000}}\n";
  static const char tell[] = "{\"jsonrpc\":\"2.0\",\"method\":\"tell\",\"params\":[1]}\n";
  struct plain p = plain_start(server, 65536);
  leash_conn *plain = start(), *corked = start_with(LEASH_OPT_CORK, 1);
  for (int round = -1; round < rounds; round++) {
    uint64_t begun = now();
    plain_send(&p, ask, sizeof ask - 1);
    plain_lines(&p, N + 1);
    double f = N * 1e9 / (double)(now() - begun);
    begun = now();
    submit(plain, "flood", "{\"size\":200000}");
    take_answers(plain, 1);
    double l = N * 1e9 / (double)(now() - begun);
    if (round >= 0) print("200,000 notifications received", "/s", f, l);

    /* The other way, with an answer at the end that says that all were read. */
    begun = now();
    for (int i = 0; i < N; i++) plain_send(&p, tell, sizeof tell - 1);
    plain_echo(&p);
    f = N * 1e9 / (double)(now() - begun);
    double sent[2];
    for (int i = 0; i < 2; i++) {
      leash_conn *conn = i ? corked : plain;
      begun = now();
      for (int n = 0; n < N; n++) must("leash_notify", leash_notify(conn, "tell", "[1]", 3));
      leash_echo(conn);
      sent[i] = N * 1e9 / (double)(now() - begun);
    }
    if (round < 0) continue;
    print("200,000 notifications sent, a write each", "/s", f, sent[0]);
    print("200,000 notifications sent, corked", "/s", f, sent[1]);
  }
  leash_free(plain);
  leash_free(corked);
  plain_end(&p);
}

/* ---- large messages */

static const size_t SIZES[] = {MEGA, 16 * MEGA, 64 * MEGA};
static const char *const KINDS[] = {"text", "objects"};

/* Bytes a microsecond are MB/s. Small ones several times, for a figure at all. */
static double rate(size_t size, uint64_t begun, int times) {
  return (double)size * times * 1e3 / (double)(now() - begun);
}

static void results(void) {
  struct plain p = plain_start(server, 64 * MEGA + 65536);
  leash_conn *conn = start();
  for (int round = -1; round < rounds; round++) {
    for (int i = 0; i < 6; i++) {
      size_t size = SIZES[i / 2];
      int times = (int)(16 * MEGA / size) + 1;
      char params[80], ask[160], name[80];
      int length = sprintf(params, "{\"size\":%zu,\"kind\":\"%s\"}", size, KINDS[i % 2]);
      sprintf(ask, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"blob\",\"params\":%s}\n", params);
      uint64_t begun = now();
      for (int n = 0; n < times; n++) {
        plain_send(&p, ask, strlen(ask));
        plain_line(&p);
      }
      double f = rate(size, begun, times);
      begun = now();
      for (int n = 0; n < times; n++)
        if (call(conn, "blob", params, (size_t)length) != size) fail("a short result");
      sprintf(name, "result of %zu MB, %s", size / MEGA, KINDS[i % 2]);
      double l = rate(size, begun, times);
      if (round >= 0) print(name, "MB/s", f, l);
    }
  }
  leash_free(conn);
  plain_end(&p);
}

static char *params_of(size_t size, int is_objects) {
  static const char object[] = "{\"name\":\"item\",\"tags\":[\"a\",\"b\"],\"at\":1234567,\"note\":\"x \\\"y\\\"\"},";
  char *text = malloc(size + 1);
  size_t at = 1;
  if (!text) fail("malloc");
  memset(text, is_objects ? ' ' : 'x', size);
  text[0] = '[', text[size - 1] = ']', text[size] = 0;
  if (is_objects) {
    for (; at + sizeof object + 4 < size; at += sizeof object - 1)
      memcpy(text + at, object, sizeof object - 1);
    text[at] = '0';
  } else {
    text[1] = text[size - 2] = '"';
  }
  return text;
}

static void requests(void) {
  struct plain p = plain_start(server, 65536);
  leash_conn *conn = start();
  char *params[6];
  for (int i = 0; i < 6; i++) params[i] = params_of(SIZES[i / 2], i % 2);
  for (int round = -1; round < rounds; round++) {
    for (int i = 0; i < 6; i++) {
      size_t size = SIZES[i / 2];
      int times = (int)(16 * MEGA / size) + 1;
      char name[80];
      uint64_t begun = now();
      for (int n = 0; n < times; n++) {
        plain_sendv(&p, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"sink\",\"params\":", params[i],
                    size, "}\n");
        plain_line(&p);
      }
      double f = rate(size, begun, times);
      begun = now();
      for (int n = 0; n < times; n++) call(conn, "sink", params[i], size);
      sprintf(name, "request of %zu MB, %s", size / MEGA, KINDS[i % 2]);
      double l = rate(size, begun, times);
      if (round >= 0) print(name, "MB/s", f, l);
    }
  }
  leash_free(conn);
  plain_end(&p);
}

/* ---- memory */

/* A line of a file in /proc, whose unit is kB. */
static double kilobytes(const char *path, const char *name) {
  FILE *file = fopen(path, "r");
  char line[256];
  double found = 0;
  while (file && fgets(line, sizeof line, file))
    if (strncmp(line, name, strlen(name)) == 0) found = strtod(line + strlen(name), NULL);
  if (file) fclose(file);
  return found;
}

/* Begin to look for a new peak. */
static void forget_peak(void) {
  FILE *file = fopen("/proc/self/clear_refs", "w");
  if (!file || fputs("5", file) < 0 || fclose(file) != 0) fail("clear_refs");
}

static void peak(void) {
  leash_conn *conn = start();
  leash_echo(conn);
  for (int i = 1; i < 3; i++) {
    char ask[80], name[80];
    char *params = params_of(SIZES[i], 0);
    int length = sprintf(ask, "{\"size\":%zu,\"kind\":\"text\"}", SIZES[i]);
    for (int way = 0; way < 2; way++) {
      double before = kilobytes("/proc/self/status", "VmRSS:");
      forget_peak();
      if (way == 0) call(conn, "blob", ask, (size_t)length);
      else call(conn, "sink", params, SIZES[i]);
      double peak_ = kilobytes("/proc/self/status", "VmHWM:") - before;
      sprintf(name, "peak memory, %s of %zu MB", way ? "request" : "result", SIZES[i] / MEGA);
      print(name, "MB", (double)SIZES[i] / MEGA, peak_ * 1024 / MEGA);
    }
    free(params);
  }
  leash_free(conn);
}

/* ---- start and end */

static void touch_memory(void) {
  const char *text = getenv("LEASH_BENCH_MB");
  size_t size = text ? strtoul(text, NULL, 10) << 20 : 0;
  if (size == 0) return;
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap");
  for (size_t at = 0; at < size; at += 4096) memory[at] = 1;
}

static void connects(void) {
  enum { N = 20 };
  uint64_t times[4][N];
  char first[80], end[80];
  const char *mega = getenv("LEASH_BENCH_MB");
  touch_memory();
  sprintf(first, "connect and first answer, host of %s MB", mega ? mega : "0");
  sprintf(end, "the same and close, host of %s MB", mega ? mega : "0");
  for (int round = -1; round < rounds; round++) {
    for (int i = 0; i < N; i++) {
      uint64_t begun = now();
      struct plain p = plain_start(server, 65536);
      plain_echo(&p);
      times[0][i] = now() - begun;
      plain_end(&p);
      times[1][i] = now() - begun;

      begun = now();
      leash_conn *conn = start();
      leash_echo(conn);
      times[2][i] = now() - begun;
      leash_free(conn);
      times[3][i] = now() - begun;
    }
    for (int i = 0; i < 4; i++) qsort(times[i], N, sizeof times[i][0], compare);
    if (round < 0) continue;
    print(first, "us", quantile(times[0], N, 0.5), quantile(times[2], N, 0.5));
    print(end, "us", quantile(times[1], N, 0.5), quantile(times[3], N, 0.5));
  }
}

/* ---- many connections */

static int entries(const char *folder) {
  DIR *dir = opendir(folder);
  int n = -2; /* without . and .. */
  while (dir && readdir(dir)) n++;
  if (dir) closedir(dir);
  return n;
}

static double cpu_us(void) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
         (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

static void raise_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

/* A call on each, all in flight at once, in microseconds a call. */
static double plain_fan(struct plain *all, int n) {
  uint64_t begun = now();
  for (int i = 0; i < n; i++) plain_send(&all[i], ECHO, sizeof ECHO - 1);
  for (int i = 0; i < n; i++) plain_line(&all[i]);
  return n * 1e9 / (double)(now() - begun);
}

static double leash_fan(leash_conn **all, int n) {
  static int64_t ids[1000];
  uint64_t begun = now();
  for (int i = 0; i < n; i++)
    must("leash_submit", leash_submit(all[i], "echo", "[1]", 3, 60000, 0, &ids[i]));
  for (int i = 0; i < n; i++) {
    leash_event *e = NULL;
    if (must("leash_wait", leash_wait(all[i], ids[i], 60000, &e)) == 0) leash_fail("no answer", 0);
    leash_event_free(e);
  }
  return n * 1e9 / (double)(now() - begun);
}

/* The same for a host with an event loop. */
static double plain_loop(struct plain *all, int n, int epoll) {
  struct epoll_event ready[64];
  uint64_t begun = now();
  for (int i = 0; i < n; i++) plain_send(&all[i], ECHO, sizeof ECHO - 1);
  for (int left = n; left > 0;) {
    int found = epoll_wait(epoll, ready, 64, -1);
    for (int i = 0; i < found; i++, left--) plain_line(&all[ready[i].data.u32]);
  }
  return n * 1e9 / (double)(now() - begun);
}

static double leash_loop(leash_conn **all, int n, int epoll) {
  struct epoll_event ready[64];
  uint64_t begun = now();
  for (int i = 0; i < n; i++) submit(all[i], "echo", "[1]");
  for (int left = n; left > 0;) {
    int found = epoll_wait(epoll, ready, 64, -1);
    for (int i = 0; i < found; i++) {
      leash_event *e = NULL;
      while (must("leash_poll", leash_poll(all[ready[i].data.u32], 0, &e)) == 1) {
        left -= leash_event_kind(e) == LEASH_EVENT_RESPONSE;
        leash_event_free(e);
      }
    }
  }
  return n * 1e9 / (double)(now() - begun);
}

static void watch(int epoll, int fd, int number) {
  struct epoll_event event = {EPOLLIN, {.u32 = (uint32_t)number}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
}

static void *end_one(void *conn) {
  leash_free(conn);
  return NULL;
}

static void scale(int n) {
  static struct plain plain[1000];
  static leash_conn *conns[1000];
  pthread_t ending[1000];
  char name[80];
  const char *many = n == 1 ? "1 connection" : n == 100 ? "100 connections" : "1,000 connections";
  int repeat = 3000 / n, plain_epoll = epoll_create1(EPOLL_CLOEXEC), leash_epoll = epoll_create1(EPOLL_CLOEXEC);
  raise_limit();
  /* The floor's host memory per connection is its buffer; small, and touched when used. */
  double memory = kilobytes("/proc/self/smaps_rollup", "Private_Dirty:");
  int fds = entries("/proc/self/fd");
  for (int i = 0; i < n; i++) plain[i] = plain_start(server, 4096);
  double plain_memory = kilobytes("/proc/self/smaps_rollup", "Private_Dirty:") - memory;
  int plain_fds = entries("/proc/self/fd") - fds;

  /* One before: the thread and the runtime are not the connections'. */
  leash_conn *first = start();
  leash_echo(first);
  memory = kilobytes("/proc/self/smaps_rollup", "Private_Dirty:");
  fds = entries("/proc/self/fd");
  for (int i = 0; i < n; i++) {
    conns[i] = start();
    leash_echo(conns[i]);
  }
  usleep(100000); /* who has read lately still holds a buffer */
  double leash_memory = kilobytes("/proc/self/smaps_rollup", "Private_Dirty:") - memory;
  int leash_fds = entries("/proc/self/fd") - fds;
  sprintf(name, "%s: host memory each", many);
  print(name, "kB", plain_memory / n, leash_memory / n);
  sprintf(name, "%s: descriptors each", many);
  print(name, "", (double)plain_fds / n, (double)leash_fds / n);
  sprintf(name, "%s: threads of the library", many);
  print(name, "", 0, entries("/proc/self/task") - 1);
  usleep(400000);
  double cpu = cpu_us();
  sleep(2);
  sprintf(name, "%s: CPU when idle", many);
  print(name, "us/s", 0, (cpu_us() - cpu) / 2);

  for (int round = -1; round < rounds; round++) {
    double f = 0, l = 0;
    for (int i = 0; i < repeat; i++) f += plain_fan(plain, n), l += leash_fan(conns, n);
    sprintf(name, "%s: fan-out, wait in turn", many);
    if (round >= 0) print(name, "calls/s", f / repeat, l / repeat);
  }
  for (int i = 0; i < n; i++) {
    leash_event *e = NULL;
    watch(plain_epoll, plain[i].out, i);
    watch(leash_epoll, leash_fd(conns[i]), i);
    while (leash_poll(conns[i], 0, &e) == 1) leash_event_free(e); /* OPEN */
  }
  for (int round = -1; round < rounds; round++) {
    double f = 0, l = 0;
    for (int i = 0; i < repeat; i++)
      f += plain_loop(plain, n, plain_epoll), l += leash_loop(conns, n, leash_epoll);
    sprintf(name, "%s: fan-out, event loop", many);
    if (round >= 0) print(name, "calls/s", f / repeat, l / repeat);
  }
  uint64_t begun = now();
  for (int i = 0; i < n; i++) plain_end(&plain[i]);
  double f = (double)(now() - begun) / 1e6;
  begun = now();
  for (int i = 0; i < n; i++) pthread_create(&ending[i], NULL, end_one, conns[i]);
  for (int i = 0; i < n; i++) pthread_join(ending[i], NULL);
  sprintf(name, "%s: end all", many);
  print(name, "ms", f, (double)(now() - begun) / 1e6);
  leash_free(first);
}

static void scale_1(void) { scale(1); }
static void scale_100(void) { scale(100); }
static void scale_1000(void) { scale(1000); }

static void ws_memory(void) {
  enum { N = 100 };
  static struct ws plain[N];
  static leash_conn *conns[N];
  struct listener l = listener_start(server);
  double memory = kilobytes("/proc/self/smaps_rollup", "Private_Dirty:");
  for (int i = 0; i < N; i++) plain[i] = ws_start(&l), ws_echo_of(&plain[i]);
  double plain_memory = kilobytes("/proc/self/smaps_rollup", "Private_Dirty:") - memory;
  leash_conn *first = dial(&l);
  leash_echo(first);
  memory = kilobytes("/proc/self/smaps_rollup", "Private_Dirty:");
  for (int i = 0; i < N; i++) leash_echo(conns[i] = dial(&l));
  usleep(100000);
  double leash_memory = kilobytes("/proc/self/smaps_rollup", "Private_Dirty:") - memory;
  print("100 WebSockets: host memory each", "kB", plain_memory / N, leash_memory / N);
  for (int i = 0; i < N; i++) close(plain[i].fd), leash_free(conns[i]);
  leash_free(first);
  listener_end(&l);
}

/* ---- counting */

/* From count.c, which the runner loads before everything else. */
static void count(void) {
  enum { N = 2000 };
  const char *const names[] = {"allocations", "system calls"};
  const char *const symbols[] = {"count_allocations", "count_calls"};
  struct plain p = plain_start(server, 65536);
  leash_conn *conn = start();
  for (int i = 0; i < 200; i++) leash_echo(conn);
  for (int what = 0; what < 2; what++) {
    unsigned long (*counted)(void);
    char name[80];
    *(void **)&counted = dlsym(RTLD_DEFAULT, symbols[what]);
    if (!counted) fail("count.so is not loaded");
    unsigned long before = counted();
    for (int i = 0; i < N; i++) plain_echo(&p);
    double f = (double)(counted() - before) / N;
    before = counted();
    for (int i = 0; i < N; i++) leash_echo(conn);
    sprintf(name, "%s a call", names[what]);
    print(name, "", f, (double)(counted() - before) / N);
  }
  leash_free(conn);
  plain_end(&p);
}

/* For callgrind: the difference between few and many calls. */
static void plain_calls(void) {
  struct plain p = plain_start(server, 65536);
  for (int i = 0; i < rounds; i++) plain_echo(&p);
  plain_end(&p);
}

static void leash_calls(void) {
  leash_conn *conn = start();
  for (int i = 0; i < rounds; i++) leash_echo(conn);
  leash_free(conn);
}

static const struct {
  const char *name;
  void (*run)(void);
} SCENARIOS[] = {
    {"roundtrip", roundtrip}, {"threads", threads},       {"inflight", inflight},
    {"flood", flood},         {"results", results},       {"requests", requests},
    {"peak", peak},           {"connects", connects},     {"scale_1", scale_1},
    {"scale_100", scale_100}, {"scale_1000", scale_1000}, {"count", count},
    {"plain_calls", plain_calls}, {"leash_calls", leash_calls},
    {"ws_roundtrip", ws_roundtrip}, {"ws_memory", ws_memory},
};

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  rounds = atoi(argv[2]);
  server = argv + 3;
  for (size_t i = 0; i < sizeof SCENARIOS / sizeof *SCENARIOS; i++) {
    if (strcmp(SCENARIOS[i].name, argv[1]) == 0) {
      SCENARIOS[i].run();
      return 0;
    }
  }
  return 2;
}
