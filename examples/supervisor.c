/* supervisor SERVER [ARGUMENT...]: keep ten of them running in one epoll loop, and start again
 * whichever dies, sooner or later as it has deserved. Ctrl-C ends them all.
 * cc supervisor.c -lleash; ./a.out deltachat-rpc-server */
#define _GNU_SOURCE
#include <leash.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <time.h>

enum { SERVERS = 10, PAUSE_MIN = 100, PAUSE_MAX = 10000, LONG_ENOUGH = 10000 };

static struct keeper {
  leash_conn *server;           /* NULL while it waits for its next start */
  int64_t started, due, pause; /* milliseconds */
} keepers[SERVERS];

static const char *const *command;
static int loop;
static volatile sig_atomic_t is_over;

static void on_signal(int number) { (void)number, is_over = 1; }

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Next time it waits twice as long, unless it has run well. */
static void start_later(struct keeper *k) {
  k->pause = now() - k->started > LONG_ENOUGH || !k->pause ? PAUSE_MIN : k->pause * 2;
  if (k->pause > PAUSE_MAX) k->pause = PAUSE_MAX;
  k->due = now() + k->pause;
}

/* Does not wait: whether it runs is an event, OPEN or CLOSED. */
static void start(struct keeper *k) {
  struct epoll_event watch = {.events = EPOLLIN, .data.ptr = k};
  k->started = now();
  if (leash_connect(command, NULL, 0, &k->server) < 0) {
    fprintf(stderr, "server %d: %s\n", (int)(k - keepers), leash_last_error());
    start_later(k);
  } else {
    epoll_ctl(loop, EPOLL_CTL_ADD, leash_fd(k->server), &watch);
  }
}

/* When CLOSED has come nothing of the server is left, so freeing waits for nothing. */
static void forget(struct keeper *k) {
  epoll_ctl(loop, EPOLL_CTL_DEL, leash_fd(k->server), NULL);
  leash_free(k->server);
  k->server = NULL;
  start_later(k);
}

static void look_after(struct keeper *k) {
  leash_event *e;
  int has_ended = 0;
  for (; leash_poll(k->server, 0, &e) == 1; leash_event_free(e)) {
    int kind = leash_event_kind(e), number = (int)(k - keepers);
    const char *text = leash_event_str(e, LEASH_STR_TEXT, NULL);
    has_ended = kind == LEASH_EVENT_CLOSED;
    if (kind == LEASH_EVENT_OPEN)
      printf("server %d: started, pid %d\n", number, (int)leash_conn_int(k->server, LEASH_INT_PID));
    if (has_ended) printf("server %d: %s\n", number, text);
    if (kind == LEASH_EVENT_STDERR) fprintf(stderr, "server %d says: %s\n", number, text);
  }
  if (has_ended) forget(k);
}

int main(int argc, char **argv) {
  if (argc < 2) return fprintf(stderr, "usage: %s SERVER [ARGUMENT...]\n", argv[0]), 2;
  sigset_t ours, before;
  sigemptyset(&ours), sigaddset(&ours, SIGINT), sigaddset(&ours, SIGTERM);
  sigprocmask(SIG_BLOCK, &ours, &before); /* they come in epoll_pwait, and nowhere else */
  sigaction(SIGINT, &(struct sigaction){.sa_handler = on_signal}, NULL);
  sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
  setvbuf(stdout, NULL, _IOLBF, 0);
  command = (const char *const *)argv + 1;
  loop = epoll_create1(EPOLL_CLOEXEC);
  while (!is_over) {
    int64_t next = now() + PAUSE_MAX;
    for (struct keeper *k = keepers; k < keepers + SERVERS; k++) {
      if (!k->server && k->due <= now()) start(k);
      if (!k->server && k->due < next) next = k->due;
    }
    struct epoll_event ready[SERVERS];
    int limit = next > now() ? (int)(next - now()) : 0;
    int n = epoll_pwait(loop, ready, SERVERS, limit, &before);
    for (int i = 0; i < n; i++) look_after(ready[i].data.ptr);
  }
  for (int i = 0; i < SERVERS; i++) /* all at once, then wait for each */
    if (keepers[i].server) leash_close(keepers[i].server, 0);
  for (int i = 0; i < SERVERS; i++) leash_free(keepers[i].server);
  puts("all have ended");
}
