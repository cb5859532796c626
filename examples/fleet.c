/* fleet SECONDS SEED STDIO_SERVER LISTENING_SERVER [ARGUMENT...]: two hundred connections
 * in one event loop, and what becomes of them when a third of their servers is killed.
 *
 *   fleet 10 1 target/debug/examples/demo_server target/debug/examples/misbehave_ws upgrade echo-loop
 *
 * A hundred stdio servers, and ten that listen and carry ten WebSockets each. The latter are
 * on a leash like the others, so that nothing of them is left; their first line of stdout
 * is their URL. Every connection has one call under way at any time. */
#include <errno.h>
#include <leash.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { STDIO = 100, LISTENERS = 10, EACH = 10, SERVERS = STDIO + LISTENERS };
enum { MEMBERS = SERVERS + LISTENERS * EACH, CONNECTIONS = MEMBERS - LISTENERS };

/* First those with a process of their own, of which the last ones listen; behind them the
 * WebSockets. */
static struct member {
  leash_conn *conn; /* NULL: it has ended */
  int is_doomed;    /* its server was killed */
} members[MEMBERS];

static int is_listener(int n) { return n >= STDIO && n < SERVERS; }

static int loop, alive, opened, doomed, died, strangers;
static long submitted, answered, failed;
static char **listener;
static leash_opts *opts;

static void die(const char *what) {
  fprintf(stderr, "fleet: %s: %s\n", what, leash_last_error());
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Start or dial; OPEN or CLOSED comes as an event. */
static void add(int n, char *const *argv, const char *url) {
  struct member *m = &members[n];
  struct epoll_event watch;
  if (leash_opts_set_str(opts, LEASH_OPT_URL, url) < 0) die("a URL");
  if (leash_connect((const char *const *)argv, opts, 0, &m->conn) < 0) die("connect");
  watch.events = EPOLLIN;
  watch.data.u32 = (uint32_t)n;
  if (epoll_ctl(loop, EPOLL_CTL_ADD, leash_fd(m->conn), &watch) < 0) die(strerror(errno));
  alive++;
}

/* The next call: as soon as one is answered. */
static void call(int n) {
  char params[16];
  snprintf(params, sizeof params, "[%d]", n);
  if (leash_submit(members[n].conn, "echo", params, LEASH_NUL, 30000, n, NULL) == 0) submitted++;
}

static void is_open(int n) {
  if (is_listener(n)) return;
  opened++;
  call(n);
}

static void is_answered(int n, const leash_event *e) {
  if (leash_event_int(e, LEASH_INT_STATUS) < 0) {
    failed++;
    return;
  }
  answered++;
  call(n);
}

/* A listening server has printed its URL. Of others it is an answer that comes too late. */
static void is_noise(int n, const leash_event *e) {
  if (!is_listener(n)) return;
  int first = SERVERS + (n - STDIO) * EACH;
  for (int i = 0; i < EACH; i++) add(first + i, NULL, leash_event_str(e, LEASH_STR_TEXT, NULL));
}

static void has_ended(int n) {
  struct member *m = &members[n];
  epoll_ctl(loop, EPOLL_CTL_DEL, leash_fd(m->conn), NULL);
  leash_free(m->conn);
  m->conn = NULL;
  alive--;
  died += m->is_doomed;
  strangers += !m->is_doomed;
}

static void take(int n) {
  leash_event *e;
  /* A few at a time: the others have a turn, too. */
  for (int i = 0; i < 16 && members[n].conn && leash_poll(members[n].conn, 0, &e) == 1; i++) {
    switch (leash_event_kind(e)) {
    case LEASH_EVENT_OPEN: is_open(n); break;
    case LEASH_EVENT_RESPONSE: is_answered(n, e); break;
    case LEASH_EVENT_NOISE: is_noise(n, e); break;
    case LEASH_EVENT_CLOSED: has_ended(n); break;
    default: break;
    }
    leash_event_free(e);
  }
}

/* Let events come until `until`, or until `count` is `wanted`. */
static void run(double until, const int *count, int wanted) {
  struct epoll_event ready[64];
  for (double left = until - now(); left > 0 && !(count && *count == wanted); left = until - now()) {
    int some = epoll_wait(loop, ready, 64, (int)(left * 1000) + 1);
    for (int i = 0; i < some; i++) take((int)ready[i].data.u32);
  }
}

static void kill_a_third(unsigned seed) {
  int order[SERVERS];
  srand(seed);
  for (int i = 0; i < SERVERS; i++) order[i] = i;
  for (int i = 0; i < SERVERS / 3; i++) {
    int j = i + rand() % (SERVERS - i), n = order[j];
    order[j] = order[i];
    int64_t pid = leash_conn_int(members[n].conn, LEASH_INT_PID);
    if (pid > 0) kill((pid_t)pid, SIGKILL);
    members[n].is_doomed = 1;
    doomed++;
    for (int k = 0; is_listener(n) && k < EACH; k++, doomed++) {
      members[SERVERS + (n - STDIO) * EACH + k].is_doomed = 1;
    }
  }
}

static int threads(void) {
  char line[80];
  int count = 0;
  FILE *status = fopen("/proc/self/status", "r");
  while (status && fgets(line, sizeof line, status)) sscanf(line, "Threads: %d", &count);
  if (status) fclose(status);
  return count;
}

int main(int argc, char **argv) {
  struct rlimit files;
  if (argc < 5) {
    fprintf(stderr, "usage: %s SECONDS SEED STDIO_SERVER LISTENING_SERVER [ARGUMENT...]\n", argv[0]);
    return 64;
  }
  double seconds = atof(argv[1]), began = now();
  char *stdio[] = { argv[3], NULL };
  listener = argv + 4;
  /* Six descriptors each, and many systems give a thousand. */
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  loop = epoll_create1(EPOLL_CLOEXEC);
  opts = leash_opts_new();
  /* What listens would not end with its stdin. */
  leash_opts_set_int(opts, LEASH_OPT_EXIT_AFTER, 0);

  for (int n = 0; n < SERVERS; n++) add(n, n < STDIO ? stdio : listener, NULL);
  run(began + 60, &opened, CONNECTIONS);
  printf("opened %d of %d in %.2f s\n", opened, CONNECTIONS, now() - began);

  double calling = now();
  run(calling + seconds / 2, NULL, 0);
  printf("%.0f calls/s, %d threads\n", (double)answered / (now() - calling), threads());

  kill_a_third((unsigned)atoi(argv[2]));
  double killed = now();
  run(killed + 30, &died, doomed);
  printf("killed %d servers: %d of %d connections ended in %.2f s, and %d others\n", SERVERS / 3,
         died, doomed, now() - killed, strangers);
  long before = answered;
  calling = now();
  run(calling + seconds / 2, NULL, 0);
  printf("%.0f calls/s by the other %d\n", (double)(answered - before) / (now() - calling), alive);

  int well = opened == CONNECTIONS && died == doomed && strangers == 0 && answered > before;
  calling = now();
  for (int n = 0; n < MEMBERS; n++) {
    if (members[n].conn) leash_close(members[n].conn, 0);
  }
  run(calling + 30, &alive, 0);
  printf("closed the rest in %.2f s; %ld calls, %ld answered, %ld failed\n", now() - calling, submitted,
         answered, failed);
  leash_opts_free(opts);
  return !(well && alive == 0 && submitted == answered + failed);
}
