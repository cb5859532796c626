/* transports CASE SERVER...: what holds over stdio holds over a WebSocket. SERVER is an argv or
 * a URL; tests/transports.rs gives each case a server that fits it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <leash.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what)                                                                          \
  do {                                                                                       \
    if (!(what)) {                                                                           \
      fprintf(stderr, "line %d: %s: %s\n", __LINE__, #what, leash_last_error());             \
      exit(1);                                                                               \
    }                                                                                        \
  } while (0)

static leash_conn *c;
static leash_opts *opts;
static int inherited; /* pipes and sockets that were there before */

static void open_server(char **server) {
  const char *const *argv = (const char *const *)server;
  if (!strncmp(server[0], "ws://", 5)) {
    CHECK(leash_opts_set_str(opts, LEASH_OPT_URL, server[0]) == 0);
    argv = NULL;
  }
  CHECK(leash_connect(argv, opts, 10000, &c) == 0);
}

static leash_event *next(int kind) {
  leash_event *e;
  CHECK(leash_poll(c, 10000, &e) == 1);
  if (leash_event_kind(e) != kind)
    fprintf(stderr, "kind %d, not %d: %s\n", leash_event_kind(e), kind,
            leash_event_str(e, LEASH_STR_TEXT, NULL));
  CHECK(leash_event_kind(e) == kind);
  return e;
}

static void pass(int kind) { leash_event_free(next(kind)); }

static int is(const leash_event *e, int field, const char *text) {
  const char *found = leash_event_str(e, field, NULL);
  return found && !strcmp(found, text);
}

static int is_int(const leash_event *e, int field, int64_t number) {
  return leash_event_int(e, field) == number;
}

/* Server: echo-loop. */
static void calls(void) {
  const char *odd = "{\"a\":1.0e0,\"b\":12345678901234567890,\"c\":\"\\u00e9\xc3\xa9\\u0000\"}";
  int64_t ids[100];
  leash_event *e;
  pass(LEASH_EVENT_OPEN);
  CHECK(leash_call(c, "a", odd, LEASH_NUL, 10000, &e) == 0);
  CHECK(is(e, LEASH_STR_JSON, odd));
  leash_event_free(e);
  for (int n = 0; n < 100; n++) {
    char params[20];
    int length = snprintf(params, sizeof params, "[%d]xx", n);
    CHECK(leash_submit(c, "a", params, (size_t)length - 2, 10000, n, &ids[n]) == 0);
  }
  CHECK(leash_wait(c, ids[70], 10000, &e) == 1);
  CHECK(is(e, LEASH_STR_JSON, "[70]") && is_int(e, LEASH_INT_TAG, 70));
  leash_event_free(e);
  CHECK(leash_wait(c, ids[70], 0, &e) == LEASH_E_STATE && !e);
  for (int n = 0; n < 100; n++) {
    if (n == 70) continue;
    e = next(LEASH_EVENT_RESPONSE);
    CHECK(is_int(e, LEASH_INT_TAG, n) && is_int(e, LEASH_INT_CALL, ids[n]));
    leash_event_free(e);
  }
  CHECK(leash_conn_int(c, LEASH_INT_PENDING) == 0 && leash_conn_int(c, LEASH_INT_QUEUED) == 0);
}

/* Server: notify, two questions, echo-loop. */
static void asks(void) {
  leash_event *e, *answer;
  pass(LEASH_EVENT_OPEN);
  e = next(LEASH_EVENT_NOTIFY);
  CHECK(is(e, LEASH_STR_METHOD, "hello") && is(e, LEASH_STR_JSON, "{\"x\":1}"));
  CHECK(leash_reply(e, "1", LEASH_NUL) == LEASH_E_STATE);
  leash_event_free(e);

  e = next(LEASH_EVENT_REQUEST);
  CHECK(is(e, LEASH_STR_METHOD, "question") && is(e, LEASH_STR_PEER_ID, "\"q\""));
  CHECK(leash_reply(e, "{\"y\":\n2}", LEASH_NUL) == 0);
  CHECK(leash_reply(e, "3", LEASH_NUL) == LEASH_E_STATE);
  leash_event_free(e);
  answer = next(LEASH_EVENT_NOTIFY);
  CHECK(is(answer, LEASH_STR_METHOD, "reply"));
  CHECK(strstr(leash_event_str(answer, LEASH_STR_JSON, NULL), "{\"y\": 2}"));
  leash_event_free(answer);

  pass(LEASH_EVENT_REQUEST); /* freed without an answer */
  answer = next(LEASH_EVENT_NOTIFY);
  CHECK(strstr(leash_event_str(answer, LEASH_STR_JSON, NULL), "-32603"));
  leash_event_free(answer);
  CHECK(leash_call(c, "a", "[]", LEASH_NUL, 10000, &e) == 0);
  leash_event_free(e);
}

/* Server: request; request; sleeps a little; answers; echo-loop. */
static void late(void) {
  leash_event *e;
  int64_t id;
  pass(LEASH_EVENT_OPEN);
  CHECK(leash_submit(c, "a", NULL, 0, 50, 1, NULL) == 0);
  e = next(LEASH_EVENT_RESPONSE);
  CHECK(is_int(e, LEASH_INT_STATUS, LEASH_E_TIMEOUT) && is_int(e, LEASH_INT_TAG, 1));
  leash_event_free(e);
  CHECK(leash_submit(c, "a", NULL, 0, -1, 2, &id) == 0);
  CHECK(leash_cancel(c, id) == 0 && leash_cancel(c, id) == LEASH_E_STATE);
  e = next(LEASH_EVENT_RESPONSE);
  CHECK(is_int(e, LEASH_INT_STATUS, LEASH_E_CANCELLED) && is_int(e, LEASH_INT_TAG, 2));
  leash_event_free(e);
  pass(LEASH_EVENT_NOISE); /* the late answer */
  CHECK(leash_call(c, "a", "[]", LEASH_NUL, 10000, &e) == 0);
  leash_event_free(e);
}

static int readable(int timeout) {
  struct pollfd fd = {leash_fd(c), POLLIN, 0};
  CHECK(poll(&fd, 1, timeout) >= 0);
  return fd.revents & POLLIN;
}

/* Server: request, answer, exits. */
static void fd(void) {
  leash_event *e;
  CHECK(readable(1000));
  pass(LEASH_EVENT_OPEN);
  CHECK(!readable(50));
  CHECK(leash_submit(c, "a", NULL, 0, 10000, 0, NULL) == 0);
  CHECK(readable(10000));
  pass(LEASH_EVENT_RESPONSE);
  CHECK(readable(10000));
  pass(LEASH_EVENT_CLOSED);
  CHECK(readable(0) && readable(0));
  CHECK(leash_poll(c, 0, &e) == LEASH_E_CLOSED);
}

static void on_alarm(int signal) { (void)signal; }

static void *wake(void *unused) {
  (void)unused;
  usleep(100000);
  CHECK(leash_wake(c) == 0);
  return NULL;
}

/* Server: never answers. */
static void interrupts(void) {
  leash_event *e;
  struct sigaction action;
  struct itimerval once = {{0, 0}, {0, 100000}};
  pthread_t thread;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_alarm;
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  pass(LEASH_EVENT_OPEN);
  CHECK(pthread_create(&thread, NULL, wake, NULL) == 0);
  CHECK(leash_poll(c, 10000, &e) == LEASH_E_INTERRUPTED);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(setitimer(ITIMER_REAL, &once, NULL) == 0);
  CHECK(leash_call(c, "a", NULL, 0, 10000, &e) == LEASH_E_INTERRUPTED && !e);
  CHECK(setitimer(ITIMER_REAL, &once, NULL) == 0);
  CHECK(leash_poll(c, 10000, &e) == LEASH_E_INTERRUPTED);
  CHECK(leash_poll(c, 50, &e) == 0 && !e);
}

/* Server: flood, echo-loop; the queue takes 10. */
static void full(void) {
  leash_event *e;
  CHECK(leash_call(c, "a", NULL, 0, 10000, &e) == LEASH_E_FULL);
  pass(LEASH_EVENT_OPEN);
  for (int n = 0; n < 3000; n++) {
    char params[20];
    snprintf(params, sizeof params, "{\"n\":%d}", n);
    e = next(LEASH_EVENT_NOTIFY);
    CHECK(is(e, LEASH_STR_JSON, params));
    leash_event_free(e);
  }
  pass(LEASH_EVENT_NOISE); /* the answer that nobody waits for any more */
  CHECK(leash_call(c, "a", "[]", LEASH_NUL, 10000, &e) == 0);
  leash_event_free(e);
}

/* Server: request, goes. */
static void goes(void) {
  leash_event *e;
  int64_t id;
  pass(LEASH_EVENT_OPEN);
  CHECK(leash_submit(c, "first", NULL, 0, -1, 1, &id) == 0);
  e = next(LEASH_EVENT_RESPONSE);
  CHECK(is_int(e, LEASH_INT_STATUS, LEASH_E_CLOSED) && is_int(e, LEASH_INT_TAG, 1));
  leash_event_free(e);
  CHECK(leash_notify(c, "a", NULL, 0) == LEASH_E_CLOSED);
  CHECK(leash_call(c, "a", NULL, 0, 1000, &e) == LEASH_E_CLOSED);
  e = next(LEASH_EVENT_CLOSED);
  CHECK(is_int(e, LEASH_INT_STATUS, LEASH_E_CLOSED));
  leash_event_free(e);
  CHECK(leash_poll(c, -1, &e) == LEASH_E_CLOSED);
}

/* Pipes and sockets above 2. */
static int streams(void) {
  int found = 0;
  DIR *folder = opendir("/proc/self/fd");
  CHECK(folder);
  for (struct dirent *entry; (entry = readdir(folder));) {
    char path[300], target[300];
    snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0 || atoi(entry->d_name) < 3) continue;
    target[length] = 0;
    found += !strncmp(target, "socket:", 7) || !strncmp(target, "pipe:", 5);
  }
  closedir(folder);
  return found;
}

/* Server: echo-loop. */
static void forks(void) {
  leash_event *e;
  int status;
  pass(LEASH_EVENT_OPEN);
  CHECK(streams() > inherited);
  pid_t child = fork();
  if (child == 0) {
    int forked = leash_call(c, "a", NULL, 0, 1000, &e) == LEASH_E_FORKED;
    _exit(!forked + 2 * (streams() != inherited));
  }
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK(leash_call(c, "a", "[]", LEASH_NUL, 10000, &e) == 0);
  leash_event_free(e);
}

/* Server: echo-loop. What is pending at the end is answered; what was sent arrives. */
static void closes(void) {
  leash_event *e;
  int64_t id;
  pass(LEASH_EVENT_OPEN);
  CHECK(leash_call(c, "a", "[]", LEASH_NUL, 10000, &e) == 0);
  leash_event_free(e);
  CHECK(leash_submit(c, "a", "[]", LEASH_NUL, -1, 1, &id) == 0);
  CHECK(leash_close(c, 10000) == 0 && leash_close(c, 0) == 0);
  e = next(LEASH_EVENT_RESPONSE);
  CHECK(is_int(e, LEASH_INT_CALL, id));
  leash_event_free(e);
  for (;;) {
    CHECK(leash_poll(c, 0, &e) == 1);
    int kind = leash_event_kind(e);
    CHECK(kind == LEASH_EVENT_CLOSED || kind == LEASH_EVENT_NOISE);
    CHECK(kind != LEASH_EVENT_CLOSED || is_int(e, LEASH_INT_STATUS, 0));
    leash_event_free(e);
    if (kind == LEASH_EVENT_CLOSED) break;
  }
  CHECK(leash_submit(c, "a", NULL, 0, -1, 1, &id) == LEASH_E_CLOSED);
}

static int kept[3];

/* Be a host without 0, 1 and 2. */
static void close_standard(void) {
  for (int fd = 0; fd < 3; fd++) {
    kept[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    close(fd);
  }
}

/* What a descriptor is; "" if it is closed. */
static const char *file_of(int64_t pid, int fd) {
  static char file[64];
  char name[64];
  snprintf(name, sizeof name, "/proc/%lld/fd/%d", (long long)pid, fd);
  ssize_t length = readlink(name, file, sizeof file - 1);
  file[length < 0 ? 0 : length] = 0;
  return file;
}

static void *call_once(void *failed) {
  leash_event *e;
  *(int *)failed = leash_call(c, "a", "[]", LEASH_NUL, 10000, &e);
  leash_event_free(e);
  return NULL;
}

/* Server: echo-loop. The host has closed 0, 1 and 2, and may print all the same: nothing of
 * the library's is there, also when the host closes one again and a new thread sleeps. A
 * server that gets the host's stderr gets none. */
static void bare(void) {
  pthread_t thread;
  int wrong = 0, failed = 1, inherits = 0;
  int64_t pid = leash_conn_int(c, LEASH_INT_PID);
  pass(LEASH_EVENT_OPEN);
  if (pid != LEASH_NONE && strcmp(file_of(pid, 2), "/dev/null")) wrong = 8;
  close(1);
  pthread_create(&thread, NULL, call_once, &failed);
  pthread_join(thread, NULL);
  for (int fd = 0; fd < 3; fd++) {
    if (strcmp(file_of(getpid(), fd), "/dev/null")) wrong |= 1 << fd;
    if (!(fcntl(fd, F_GETFD) & FD_CLOEXEC)) inherits = 1;
    dup2(kept[fd], fd);
  }
  if (wrong) fprintf(stderr, "not /dev/null: %d\n", wrong);
  CHECK(!wrong && !failed && !inherits);
}

static const struct {
  const char *name;
  void (*run)(void);
} cases[] = {{"calls", calls}, {"asks", asks}, {"late", late},   {"fd", fd},         {"interrupts", interrupts},
             {"full", full},   {"goes", goes}, {"forks", forks}, {"closes", closes},
             {"bare", bare}};

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  inherited = streams();
  opts = leash_opts_new();
  if (!strcmp(argv[1], "full")) leash_opts_set_int(opts, LEASH_OPT_QUEUE_EVENTS, 10);
  for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
    if (strcmp(cases[n].name, argv[1])) continue;
    if (cases[n].run == bare) {
      close_standard();
      if (strncmp(argv[2], "ws://", 5)) leash_opts_set_int(opts, LEASH_OPT_STDERR, 2);
    }
    open_server(argv + 2);
    cases[n].run();
    leash_free(c);
    leash_opts_free(opts);
    return 0;
  }
  return 2;
}
