/* What arrives unasked: requests, noise, stderr; and how a host learns of it. */
#include "check.h"

#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>

/* A server that talks at once, on both pipes, may be faster than the word that it runs. */
static void open_comes_before_everything(char **server) {
  for (int i = 0; i < 40; i++) {
    leash_conn *c = NULL;
    /* Also when nobody waits for it, and when it is closed while it starts. */
    CHECK_INT(leash_connect((const char *const *)server, NULL, i % 2 ? LONG : 0, &c), 0);
    if (i % 4 == 2) CHECK_INT(leash_close(c, LONG), 0);
    leash_event *e = next(c);
    if (leash_event_kind(e) == LEASH_EVENT_CLOSED) {
      CHECK_INT(i % 4, 2);
    } else {
      CHECK_INT(leash_event_kind(e), LEASH_EVENT_OPEN);
      CHECK_INT(num(e, LEASH_INT_SEQ), 1);
    }
    leash_event_free(e);
    leash_free(c);
  }
}

/* ---- requests of the peer */

static void ids_are_echoed_as_they_came(char **server) {
  static const char *const ids[] = {
    "0", "-1", "1", "7", "\"\"", "\"a b\"", "\"\\u00e9\\\"\"", "1.50", "1e3",
    "12345678901234567890", "null"
  };
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
    leash_event *e = NEXT(c, LEASH_EVENT_REQUEST);
    CHECK_TEXT(str(e, LEASH_STR_METHOD), "roots/list");
    CHECK_TEXT(str(e, LEASH_STR_PEER_ID), ids[i]);
    CHECK_TEXT(json(e), NULL);
    CHECK_INT(num(e, LEASH_INT_CALL), LEASH_NONE);
    CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_NONE);
    CHECK_INT(leash_reply(e, "{\"x\":1.0}", LEASH_NUL), 0);
    leash_event_free(e);
    expect(c, LEASH_EVENT_NOTIFY, LEASH_STR_JSON, "{\"result\":{\"x\":1.0}}");
  }
  finish(c);
}

/* Five requests, each answered in another way. */
static void requests_are_answered_once(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);

  leash_event *e = NEXT(c, LEASH_EVENT_REQUEST);
  CHECK_FAILS(leash_reply(e, "{", LEASH_NUL), LEASH_E_INVALID);
  CHECK_FAILS(leash_reply(e, "", LEASH_NUL), LEASH_E_INVALID);
  CHECK_INT(leash_reply(e, "1 23", 1), 0);
  CHECK_FAILS(leash_reply(e, "2", LEASH_NUL), LEASH_E_STATE);
  CHECK_FAILS(leash_reply_error(e, 1, "x", NULL, 0), LEASH_E_STATE);
  leash_event_free(e);
  expect(c, LEASH_EVENT_NOTIFY, LEASH_STR_JSON, "{\"result\":1}");

  e = NEXT(c, LEASH_EVENT_REQUEST);
  CHECK_INT(leash_reply(e, NULL, 0), 0);
  leash_event_free(e);
  e = NEXT(c, LEASH_EVENT_NOTIFY);
  CHECK_TEXT(json(e), "{\"result\":null}");
  CHECK_TEXT(str(e, LEASH_STR_METHOD), "reply");
  CHECK_TEXT(str(e, LEASH_STR_PEER_ID), NULL);
  CHECK_FAILS(leash_reply(e, "1", LEASH_NUL), LEASH_E_STATE);
  CHECK_FAILS(leash_reply_error(e, 1, "x", NULL, 0), LEASH_E_STATE);
  leash_event_free(e);

  e = NEXT(c, LEASH_EVENT_REQUEST);
  CHECK_FAILS(leash_reply_error(e, 1, "\xff", NULL, 0), LEASH_E_INVALID);
  CHECK_FAILS(leash_reply_error(e, 1, "x", "nul", LEASH_NUL), LEASH_E_INVALID);
  CHECK_INT(leash_reply_error(e, INT64_MIN, "n\"o\n", "{\"d\":1.0}", LEASH_NUL), 0);
  CHECK_FAILS(leash_reply_error(e, 1, "x", NULL, 0), LEASH_E_STATE);
  CHECK_FAILS(leash_reply(e, NULL, 0), LEASH_E_STATE);
  leash_event_free(e);
  expect(c, LEASH_EVENT_NOTIFY, LEASH_STR_JSON,
         "{\"error\":{\"code\":-9223372036854775808,\"message\":\"n\\\"o\\n\",\"data\":{\"d\":1.0}}}");

  e = NEXT(c, LEASH_EVENT_REQUEST);
  CHECK_INT(leash_reply_error(e, -32601, "", NULL, 0), 0);
  leash_event_free(e);
  expect(c, LEASH_EVENT_NOTIFY, LEASH_STR_JSON, "{\"error\":{\"code\":-32601,\"message\":\"\"}}");

  SKIP(c, LEASH_EVENT_REQUEST);
  e = NEXT(c, LEASH_EVENT_NOTIFY);
  CHECK_HAS(json(e), "{\"error\":{\"code\":-32603,");
  leash_event_free(e);
  finish(c);
}

static void a_reply_after_close_is_refused(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  leash_event *e = NEXT(c, LEASH_EVENT_REQUEST);
  CHECK_INT(leash_close(c, LONG), 0);
  CHECK_FAILS(leash_reply(e, "1", LEASH_NUL), LEASH_E_CLOSED);
  CHECK_FAILS(leash_reply_error(e, 1, "x", NULL, 0), LEASH_E_CLOSED);
  leash_event *end = closed(c);
  leash_free(c);
  CHECK_FAILS(leash_reply(e, "1", LEASH_NUL), LEASH_E_CLOSED);
  CHECK_FAILS(leash_reply_error(e, 1, "x", NULL, 0), LEASH_E_CLOSED);
  CHECK_TEXT(str(e, LEASH_STR_METHOD), "x");
  CHECK_TEXT(str(e, LEASH_STR_PEER_ID), "1");
  CHECK_INT(num(end, LEASH_INT_STATUS), 0);
  leash_event_free(e);
  leash_event_free(end);
}

/* The server waits for the answer to its request before it answers ours. */
static void a_server_may_ask_before_it_answers(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  int64_t id = submit(c, "work", NULL, 9);
  leash_event *e = NEXT(c, LEASH_EVENT_REQUEST);
  /* Its id is ours, and that means nothing. */
  CHECK_TEXT(str(e, LEASH_STR_PEER_ID), "1");
  CHECK_INT(id, 1);
  CHECK_INT(leash_reply(e, "[]", LEASH_NUL), 0);
  leash_event_free(e);
  SKIP(c, LEASH_EVENT_NOTIFY);
  e = NEXT(c, LEASH_EVENT_RESPONSE);
  CHECK_INT(num(e, LEASH_INT_TAG), 9);
  CHECK_TEXT(json(e), "\"done\"");
  leash_event_free(e);
  finish(c);
}

static void notifications_have_method_and_params(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  leash_event *e = NEXT(c, LEASH_EVENT_NOTIFY);
  CHECK_TEXT(str(e, LEASH_STR_METHOD), "a\xc3\xa9/\xef\xbf\xbd\xef\xbf\xbd");
  CHECK_TEXT(json(e), "{\"x\":1.0,\"y\":12345678901234567890,\"z\":\"\\u00e9\"}");
  CHECK_INT(num(e, LEASH_INT_SEQ), 2);
  CHECK_INT(num(e, 12345), LEASH_NONE);
  CHECK_INT(num(e, LEASH_STR_JSON), LEASH_NONE);
  CHECK_TEXT(str(e, 12345), NULL);
  CHECK_TEXT(str(e, LEASH_INT_SEQ), NULL);
  CHECK(leash_event_str(e, LEASH_STR_JSON, NULL) == leash_event_str(e, LEASH_STR_JSON, NULL));
  leash_event_free(e);
  e = NEXT(c, LEASH_EVENT_NOTIFY);
  CHECK_TEXT(str(e, LEASH_STR_METHOD), "bare");
  CHECK_TEXT(json(e), NULL);
  leash_event_free(e);
  finish(c);
}

/* ---- noise */

static void noise_costs_no_call(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  leash_event *e = call(c, "echo", "[1]");
  CHECK_TEXT(json(e), "[1]");
  leash_event_free(e);
  expect(c, LEASH_EVENT_NOISE, LEASH_STR_TEXT, "Need to install the following packages:");
  expect(c, LEASH_EVENT_NOISE, LEASH_STR_TEXT, "\x1b[32m{not json}\x1b[0m");
  finish(c);
}

static void noise_is_cut(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  leash_event *e = NEXT(c, LEASH_EVENT_NOISE);
  CHECK_INT(strlen(text(e)), 4096);
  leash_event_free(e);
  e = NEXT(c, LEASH_EVENT_NOISE);
  CHECK_INT(strlen(text(e)), 4096);
  leash_event_free(e);
  expect(c, LEASH_EVENT_NOTIFY, LEASH_STR_METHOD, "after");
  finish(c);
}

/* Each is a line that is not JSON-RPC; the last line is a notification. */
static void what_is_no_message_is_noise(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  int n = 0;
  leash_event *e;
  while (leash_event_kind(e = next(c)) == LEASH_EVENT_NOISE) {
    CHECK(text(e) != NULL);
    leash_event_free(e);
    n++;
  }
  CHECK_INT(leash_event_kind(e), LEASH_EVENT_NOTIFY);
  leash_event_free(e);
  CHECK_INT(n, atoi(getenv("LINES_OF_NOISE")));
  CHECK_INT(leash_conn_int(c, LEASH_INT_PENDING), 0);
  finish(c);
}

static void noise_between_lsp_messages(char **server) {
  leash_conn *c = start_with(server, LEASH_OPT_PROTOCOL, LEASH_PROTOCOL_LSP);
  SKIP(c, LEASH_EVENT_OPEN);
  expect(c, LEASH_EVENT_NOTIFY, LEASH_STR_METHOD, "a");
  expect(c, LEASH_EVENT_NOISE, LEASH_STR_TEXT, "Starting up...");
  expect(c, LEASH_EVENT_NOTIFY, LEASH_STR_METHOD, "b");
  expect(c, LEASH_EVENT_NOTIFY, LEASH_STR_METHOD, "c");
  expect(c, LEASH_EVENT_NOISE, LEASH_STR_TEXT, "[]");
  expect(c, LEASH_EVENT_NOTIFY, LEASH_STR_METHOD, "d");
  finish(c);
}

static void a_broken_header_ends_it(char **server) {
  leash_conn *c = start_with(server, LEASH_OPT_PROTOCOL, LEASH_PROTOCOL_LSP);
  int64_t id = submit(c, "x", NULL, 1);
  leash_event *e = NULL;
  CHECK_INT(leash_wait(c, id, LONG, &e), 1);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_CLOSED);
  leash_event_free(e);
  e = closed(c);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_PROTOCOL);
  CHECK(text(e) != NULL);
  leash_event_free(e);
  leash_free(c);
}

static void batches_are_taken_apart(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  submit(c, "x", NULL, 11);
  submit(c, "y", NULL, 22);
  leash_event *e = NEXT(c, LEASH_EVENT_RESPONSE);
  CHECK_INT(num(e, LEASH_INT_TAG), 22);
  CHECK_TEXT(json(e), "[1,2]");
  leash_event_free(e);
  expect(c, LEASH_EVENT_NOTIFY, LEASH_STR_METHOD, "n");
  e = NEXT(c, LEASH_EVENT_REQUEST);
  CHECK_INT(leash_reply(e, "1", LEASH_NUL), 0);
  leash_event_free(e);
  expect(c, LEASH_EVENT_NOISE, LEASH_STR_TEXT, "5");
  e = NEXT(c, LEASH_EVENT_RESPONSE);
  CHECK_INT(num(e, LEASH_INT_TAG), 11);
  CHECK_INT(num(e, LEASH_INT_RPC_CODE), 4);
  leash_event_free(e);
  /* The answer goes alone, not in a batch. */
  expect_stderr(c, "{\"jsonrpc\":\"2.0\",\"id\":\"q\",\"result\":1}");
  CHECK_INT(leash_notify(c, "go", NULL, 0), 0);
  expect(c, LEASH_EVENT_NOISE, LEASH_STR_TEXT, "[]");
  expect(c, LEASH_EVENT_NOISE, LEASH_STR_TEXT, "[1,2]");
  finish(c);
}

/* ---- stderr */

static void stderr_comes_in_lines(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  leash_event *e = NEXT(c, LEASH_EVENT_STDERR);
  CHECK_TEXT(text(e), "one");
  CHECK_INT(num(e, LEASH_INT_DROPPED), 0);
  CHECK_TEXT(json(e), NULL);
  leash_event_free(e);
  expect_stderr(c, "");
  expect_stderr(c, "b\xef\xbf\xbd" "d \xef\xbf\xbd nul");
  size_t length = 0, pieces = 0;
  while (length < 40000) {
    e = NEXT(c, LEASH_EVENT_STDERR);
    CHECK(strlen(text(e)) <= 16384);
    CHECK(strspn(text(e), "0") == strlen(text(e)));
    length += strlen(text(e));
    pieces++;
    leash_event_free(e);
  }
  CHECK_INT(length, 40000);
  CHECK_INT(pieces, 3);
  expect_stderr(c, "no newline");
  finish(c);
}

/* A line of one piece has no other; and pieces end between characters. */
static void long_lines_stay_whole_and_text(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  for (size_t length = 16384; length > 16382; length--) {
    leash_event *e = NEXT(c, LEASH_EVENT_STDERR);
    CHECK_INT(strlen(text(e)), length);
    leash_event_free(e);
  }
  for (size_t left = 24000; left > 0;) {
    leash_event *e = NEXT(c, LEASH_EVENT_STDERR);
    size_t length = strlen(text(e));
    CHECK(length <= 16384 && length <= left);
    for (size_t at = 0; at < length; at += 3) CHECK(!memcmp(text(e) + at, "\xe2\x82\xac", 3));
    left -= length;
    leash_event_free(e);
  }
  expect_stderr(c, "end");
  finish(c);
}

static void old_lines_are_dropped_and_counted(char **server) {
  leash_conn *c = start_with(server, LEASH_OPT_QUEUE_EVENTS, 10);
  /* That the server came so far says that nobody blocked it. */
  leash_event *e = call(c, "echo", "[]");
  leash_event_free(e);
  CHECK_INT(leash_close(c, LONG), 0);
  SKIP(c, LEASH_EVENT_OPEN);
  int64_t lost = 0, seen = 0;
  while (leash_event_kind(e = next(c)) == LEASH_EVENT_STDERR) {
    char line[30];
    lost += num(e, LEASH_INT_DROPPED);
    snprintf(line, sizeof line, "line %lld", (long long)(lost + seen++));
    CHECK_TEXT(text(e), line);
    leash_event_free(e);
  }
  CHECK_INT(leash_event_kind(e), LEASH_EVENT_CLOSED);
  CHECK_INT(seen, 10);
  CHECK_INT(lost + seen + num(e, LEASH_INT_DROPPED), 20000);
  leash_event_free(e);
  leash_free(c);
}

static void stderr_can_be_discarded(char **server) {
  leash_conn *c = start_with(server, LEASH_OPT_STDERR, 0);
  SKIP(c, LEASH_EVENT_OPEN);
  leash_event *e = call(c, "echo", "[]");
  leash_event_free(e);
  CHECK_INT(leash_close(c, LONG), 0);
  SKIP(c, LEASH_EVENT_CLOSED);
  leash_free(c);
}

static void stderr_can_be_the_hosts(char **server) {
  leash_conn *c = start_with(server, LEASH_OPT_STDERR, 2);
  SKIP(c, LEASH_EVENT_OPEN);
  leash_event *e = call(c, "echo", "[]");
  leash_event_free(e);
  CHECK_INT(leash_close(c, LONG), 0);
  SKIP(c, LEASH_EVENT_CLOSED);
  leash_free(c);
}

/* ---- the descriptor, and being woken */

/* With nothing on its way, the descriptor says what a poll would do. */
static void fd_is_readable_exactly_while_there_is_something(char **server) {
  leash_conn *c = start(server, NULL);
  int fd = leash_fd(c);
  CHECK(fd >= 0);
  CHECK_INT(leash_fd(c), fd);
  CHECK(readable(fd, 0));
  CHECK(readable(fd, 0));
  SKIP(c, LEASH_EVENT_OPEN);
  CHECK(!readable(fd, 0));
  expect_nothing(c);
  CHECK(!readable(fd, 0));
  for (int round = 0; round < 50; round++) {
    CHECK_INT(leash_notify(c, "go", NULL, 0), 0);
    submit(c, "echo", "[1]", 0);
    submit(c, "echo", "[2]", 0);
    CHECK(readable(fd, LONG));
    SKIP(c, LEASH_EVENT_RESPONSE);
    CHECK(readable(fd, LONG));
    SKIP(c, LEASH_EVENT_RESPONSE);
    CHECK(!readable(fd, 0));
    expect_nothing(c);
    /* A call's response is its caller's. */
    leash_event_free(call(c, "echo", "[3]"));
    CHECK(!readable(fd, 0));
    /* A wait takes away what a poll could have taken. */
    int64_t id = submit(c, "echo", "[4]", 0);
    CHECK(readable(fd, LONG));
    leash_event *e = NULL;
    CHECK_INT(leash_wait(c, id, 0, &e), 1);
    leash_event_free(e);
    CHECK(!readable(fd, 0));
    CHECK_INT(leash_wake(c), 0);
    CHECK(readable(fd, 0));
    CHECK_FAILS(leash_poll(c, 0, &e), LEASH_E_INTERRUPTED);
    CHECK(!readable(fd, 0));
    expect_nothing(c);
  }
  CHECK_INT(leash_close(c, LONG), 0);
  CHECK(readable(fd, LONG));
  SKIP(c, LEASH_EVENT_CLOSED);
  leash_event *e = NULL;
  for (int i = 0; i < 3; i++) {
    CHECK(readable(fd, 0));
    CHECK_INT(leash_poll(c, 0, &e), LEASH_E_CLOSED);
  }
  CHECK_INT(leash_wake(c), 0);
  CHECK_INT(leash_poll(c, 0, &e), LEASH_E_INTERRUPTED);
  CHECK(readable(fd, 0));
  CHECK_INT(leash_poll(c, 0, &e), LEASH_E_CLOSED);
  CHECK_INT(leash_fd(c), fd);
  leash_free(c);
}

/* A flood taken by an event loop: never readable without an event. */
static void an_event_loop_sees_every_event(char **server) {
  leash_conn *c = start(server, NULL);
  int fd = leash_fd(c), n = -1;
  while (n < 20000) {
    CHECK(readable(fd, LONG));
    leash_event *e = NULL;
    CHECK_INT(leash_poll(c, 0, &e), 1);
    char params[30];
    snprintf(params, sizeof params, "{\"n\":%d}", n);
    if (n >= 0) CHECK_TEXT(json(e), params);
    CHECK_INT(num(e, LEASH_INT_SEQ), n + 2);
    leash_event_free(e);
    n++;
  }
  CHECK(!readable(fd, 0));
  finish(c);
}

static void each_wake_counts_for_one_poll(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  for (int i = 0; i < 5; i++) CHECK_INT(leash_wake(c), 0);
  leash_event *e = (leash_event *)&e;
  for (int i = 0; i < 5; i++) {
    CHECK_FAILS(leash_poll(c, i % 2 ? 0 : -1, &e), LEASH_E_INTERRUPTED);
    CHECK(e == NULL);
  }
  expect_nothing(c);
  /* A wake takes no event away. */
  leash_event_free(call(c, "echo", NULL));
  submit(c, "echo", "[1]", 0);
  CHECK_INT(leash_wake(c), 0);
  CHECK_INT(leash_poll(c, LONG, &e), LEASH_E_INTERRUPTED);
  SKIP(c, LEASH_EVENT_RESPONSE);
  expect_nothing(c);
  finish(c);
}

static leash_conn *to_wake;
static volatile sig_atomic_t woken;

static void wake_in_handler(int signal) {
  (void)signal;
  int before = errno;
  errno = 1234;
  if (leash_wake(to_wake) == 0 && errno == 1234) woken = 1;
  errno = before;
}

static void do_nothing(int signal) { (void)signal; }

static void handle(int number, void (*handler)(int)) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  /* Even where system calls would go on. */
  action.sa_flags = SA_RESTART;
  CHECK_INT(sigaction(number, &action, NULL), 0);
}

static void *raise_it(void *arg) {
  (void)arg;
  CHECK_INT(pthread_kill(pthread_self(), SIGUSR1), 0);
  return NULL;
}

/* Signal the thread whose id is in *arg as soon as it sleeps. */
static void *raise_when_asleep(void *arg) {
  int tid = *(int *)arg;
  EVENTUALLY(sleeps(tid));
  CHECK_INT(syscall(SYS_tgkill, getpid(), tid, SIGUSR1), 0);
  return NULL;
}

static void a_signal_handler_can_wake(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  to_wake = c;
  handle(SIGUSR1, wake_in_handler);
  CHECK_FAILS(leash_cancel(c, 99), LEASH_E_STATE);
  char before[200];
  snprintf(before, sizeof before, "%s", leash_last_error());
  raise(SIGUSR1);
  CHECK(woken);
  CHECK_TEXT(leash_last_error(), before);
  leash_event *e = NULL;
  CHECK_INT(leash_poll(c, -1, &e), LEASH_E_INTERRUPTED);
  /* The handler runs in one thread and wakes another. */
  pthread_t t = thread(raise_it, NULL);
  CHECK_INT(leash_poll(c, -1, &e), LEASH_E_INTERRUPTED);
  join(t);
  expect_nothing(c);
  /* In the thread that polls: what interrupts it and the wake are one. */
  int self = (int)syscall(SYS_gettid);
  t = thread(raise_when_asleep, &self);
  CHECK_INT(leash_poll(c, -1, &e), LEASH_E_INTERRUPTED);
  join(t);
  expect_nothing(c);
  finish(c);
}

#define WAKES 20000

static void *wake_often(void *arg) {
  int *turn = (int *)arg;
  for (int i = 0; i < WAKES; i++) {
    while (__atomic_load_n(turn, __ATOMIC_SEQ_CST) != 2 * i + 1) sched_yield();
    CHECK_INT(leash_wake(to_wake), 0);
    __atomic_store_n(turn, 2 * i + 2, __ATOMIC_SEQ_CST);
  }
  return NULL;
}

/* Whenever a wake meets a poll, afterwards the descriptor says what is true. */
static void a_wake_that_was_taken_is_not_heard_again(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  to_wake = c;
  int fd = leash_fd(c), turn = 0, status;
  leash_event *e = NULL;
  pthread_t t = thread(wake_often, &turn);
  for (int i = 0; i < WAKES; i++) {
    __atomic_store_n(&turn, 2 * i + 1, __ATOMIC_SEQ_CST);
    while ((status = leash_poll(c, 0, &e)) == 0) {}
    CHECK_INT(status, LEASH_E_INTERRUPTED);
    while (__atomic_load_n(&turn, __ATOMIC_SEQ_CST) != 2 * i + 2) sched_yield();
    CHECK(!readable(fd, 0));
  }
  join(t);
  finish(c);
}

/* A thread that interrupts another one until that has had enough. */
struct ticker {
  pthread_t whom, self;
  volatile int stop;
};

static void *tick(void *arg) {
  struct ticker *t = (struct ticker *)arg;
  while (!__atomic_load_n(&t->stop, __ATOMIC_SEQ_CST)) {
    pthread_kill(t->whom, SIGUSR2);
    poll(NULL, 0, 2);
  }
  return NULL;
}

static void start_ticking(struct ticker *t) {
  handle(SIGUSR2, do_nothing);
  t->whom = pthread_self();
  t->stop = 0;
  t->self = thread(tick, t);
}

static void stop_ticking(struct ticker *t) {
  __atomic_store_n(&t->stop, 1, __ATOMIC_SEQ_CST);
  join(t->self);
}

static void *poll_until_woken(void *c) {
  leash_event *e = NULL;
  CHECK_FAILS(leash_poll((leash_conn *)c, -1, &e), LEASH_E_INTERRUPTED);
  return NULL;
}

/* The server answers nothing, and does not go when asked. */
static void a_signal_interrupts_every_wait(char **server) {
  leash_opts *opts = with(LEASH_OPT_EXIT_AFTER, 300);
  CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_KILL_AFTER, 100), 0);
  leash_conn *c = start(server, opts);
  leash_opts_free(opts);
  SKIP(c, LEASH_EVENT_OPEN);
  int64_t id = submit(c, "x", NULL, 0);
  struct ticker t;
  start_ticking(&t);
  leash_event *e = (leash_event *)&e;
  for (int i = 0; i < 10; i++) {
    CHECK_FAILS(leash_poll(c, -1, &e), LEASH_E_INTERRUPTED);
    CHECK(e == NULL);
    CHECK_FAILS(leash_wait(c, id, -1, &e), LEASH_E_INTERRUPTED);
    CHECK(e == NULL);
    CHECK_FAILS(leash_call(c, "y", NULL, 0, -1, &e), LEASH_E_INTERRUPTED);
    CHECK(e == NULL);
    /* The call was given up; what was submitted goes on. */
    CHECK_INT(leash_conn_int(c, LEASH_INT_PENDING), 1);
  }
  /* From the second time on, at the latest, the other thread is the one that reads. */
  pthread_t reader = thread(poll_until_woken, c);
  for (int i = 0; i < 10; i++) {
    CHECK_FAILS(leash_call(c, "z", NULL, 0, -1, &e), LEASH_E_INTERRUPTED);
    CHECK_FAILS(leash_wait(c, id, -1, &e), LEASH_E_INTERRUPTED);
  }
  CHECK_INT(leash_wake(c), 0);
  join(reader);
  int64_t began = now();
  CHECK_FAILS(leash_close(c, -1), LEASH_E_INTERRUPTED);
  CHECK(now() - began < LONG / 2);
  /* leash_free goes on waiting, whatever comes. */
  leash_event *request = NULL;
  CHECK_INT(leash_poll(c, 0, &request), 1);
  leash_event_free(request);
  leash_free(c);
  stop_ticking(&t);
}

/* ---- many threads */

#define POLLERS 8
#define EVENTS 20000

static unsigned char seen[EVENTS];

static void *take_some(void *arg) {
  leash_conn *c = (leash_conn *)arg;
  for (;;) {
    leash_event *e = NULL;
    int n = leash_poll(c, LONG, &e);
    if (n == LEASH_E_CLOSED) return NULL;
    CHECK_INT(n, 1);
    if (leash_event_kind(e) == LEASH_EVENT_NOTIFY) {
      int number = atoi(json(e) + 5);
      CHECK_INT(__atomic_fetch_add(&seen[number], 1, __ATOMIC_SEQ_CST), 0);
    }
    leash_event_free(e);
  }
}

/* The server floods, and then exits. */
static void each_event_goes_to_one_thread(char **server) {
  leash_conn *c = start(server, NULL);
  pthread_t threads[POLLERS];
  for (int i = 0; i < POLLERS; i++) threads[i] = thread(take_some, c);
  for (int i = 0; i < POLLERS; i++) join(threads[i]);
  for (int i = 0; i < EVENTS; i++) CHECK_INT(seen[i], 1);
  leash_free(c);
}

static const struct scenario all[] = {
  SCENARIO(open_comes_before_everything),
  SCENARIO(ids_are_echoed_as_they_came),
  SCENARIO(requests_are_answered_once),
  SCENARIO(a_reply_after_close_is_refused),
  SCENARIO(a_server_may_ask_before_it_answers),
  SCENARIO(notifications_have_method_and_params),
  SCENARIO(noise_costs_no_call),
  SCENARIO(noise_is_cut),
  SCENARIO(what_is_no_message_is_noise),
  SCENARIO(noise_between_lsp_messages),
  SCENARIO(a_broken_header_ends_it),
  SCENARIO(batches_are_taken_apart),
  SCENARIO(stderr_comes_in_lines),
  SCENARIO(long_lines_stay_whole_and_text),
  SCENARIO(old_lines_are_dropped_and_counted),
  SCENARIO(stderr_can_be_discarded),
  SCENARIO(stderr_can_be_the_hosts),
  SCENARIO(fd_is_readable_exactly_while_there_is_something),
  SCENARIO(an_event_loop_sees_every_event),
  SCENARIO(each_wake_counts_for_one_poll),
  SCENARIO(a_signal_handler_can_wake),
  SCENARIO(a_wake_that_was_taken_is_not_heard_again),
  SCENARIO(a_signal_interrupts_every_wait),
  SCENARIO(each_event_goes_to_one_thread),
};
MAIN(all)
