/* turns SCENARIO URL: threads that send and receive over one plain WebSocket by themselves, and
 * the library's thread where none does. tests/turns.rs says what the server does. */
#include "check.h"

#include <sys/syscall.h>

static leash_opts *to(char **server) {
  leash_opts *opts = leash_opts_new();
  CHECK_INT(leash_opts_set_str(opts, LEASH_OPT_URL, server[0]), 0);
  return opts;
}

static leash_conn *dial_opts(leash_opts *opts) {
  leash_conn *c = NULL;
  CHECK_INT(leash_connect(NULL, opts, LONG, &c), 0);
  leash_opts_free(opts);
  SKIP(c, LEASH_EVENT_OPEN);
  return c;
}

static leash_conn *dial_with(char **server, int key, int64_t value) {
  leash_opts *opts = to(server);
  CHECK_INT(leash_opts_set_int(opts, key, value), 0);
  return dial_opts(opts);
}

static leash_conn *dial(char **server) { return dial_opts(to(server)); }

/* A call in a thread of its own. */
struct caller {
  leash_conn *conn;
  int number, rounds, timeout_ms, status, tid;
  size_t size;
  pthread_t thread;
};

static void *call_once(void *argument) {
  struct caller *self = (struct caller *)argument;
  leash_event *e = NULL;
  __atomic_store_n(&self->tid, (int)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
  self->status = leash_call(self->conn, "a", "[]", LEASH_NUL, self->timeout_ms, &e);
  leash_event_free(e);
  return NULL;
}

static void begin(struct caller *self, leash_conn *c, int timeout_ms) {
  self->conn = c, self->timeout_ms = timeout_ms, self->status = 1, self->tid = 0;
  self->thread = thread(call_once, self);
}

/* Whether it waits for its answer: it has sent, and sleeps. */
static int waits(struct caller *self, int64_t pending) {
  return leash_conn_int(self->conn, LEASH_INT_PENDING) == pending &&
         sleeps(__atomic_load_n(&self->tid, __ATOMIC_SEQ_CST));
}

/* A text of that length that nobody else sends. */
static char *params_of(const struct caller *self, int round) {
  char *text = (char *)malloc(self->size + 64);
  CHECK(text != NULL);
  int head = sprintf(text, "[%d,%d,\"", self->number, round);
  memset(text + head, 'a' + (self->number + round) % 26, self->size);
  strcpy(text + head + self->size, "\"]");
  return text;
}

static void *call_often(void *argument) {
  struct caller *self = (struct caller *)argument;
  for (int round = 0; round < self->rounds; round++) {
    char *params = params_of(self, round);
    leash_event *e = call(self->conn, "a", params);
    CHECK(strcmp(json(e), params) == 0);
    leash_event_free(e);
    free(params);
  }
  return NULL;
}

static void crowd(leash_conn *c, int threads, int rounds, size_t size) {
  struct caller *callers = (struct caller *)calloc((size_t)threads, sizeof *callers);
  for (int n = 0; n < threads; n++) {
    callers[n].conn = c, callers[n].number = n, callers[n].rounds = rounds;
    callers[n].size = size;
    callers[n].thread = thread(call_often, &callers[n]);
  }
  for (int n = 0; n < threads; n++) join(callers[n].thread);
  free(callers);
}

static void many_threads_share_one(char **server) {
  leash_conn *c = dial(server);
  crowd(c, 32, 200, 10);
  expect_nothing(c);
  finish(c);
}

/* The server has to be read while it is written to, and the other way round. */
static void large_messages_both_ways(char **server) {
  leash_conn *c = dial(server);
  crowd(c, 4, 3, 3 << 20);
  crowd(c, 2, 1, 20 << 20);
  finish(c);
}

struct stream {
  leash_conn *conn;
  int count;
};

static void *submit_all(void *argument) {
  struct stream *self = (struct stream *)argument;
  for (int n = 0; n < self->count; n++) {
    char params[20];
    sprintf(params, "[%d]", n);
    CHECK_INT(leash_submit(self->conn, "a", params, LEASH_NUL, -1, n, NULL), 0);
  }
  CHECK_INT(leash_flush(self->conn), 0);
  return NULL;
}

/* One thread sends, another takes the answers, and a third calls. */
static void stream(char **server, int cork) {
  leash_conn *c = dial_with(server, LEASH_OPT_CORK, cork);
  struct stream s = {c, 20000};
  struct caller other;
  memset(&other, 0, sizeof other);
  other.conn = c, other.number = 1, other.rounds = 500, other.size = 10;
  pthread_t sender = thread(submit_all, &s);
  other.thread = thread(call_often, &other);
  for (int n = 0; n < s.count; n++) {
    leash_event *e = NEXT(c, LEASH_EVENT_RESPONSE);
    CHECK_INT(num(e, LEASH_INT_TAG), n);
    CHECK_INT(atoi(json(e) + 1), n);
    leash_event_free(e);
  }
  join(sender), join(other.thread);
  finish(c);
}

static void answers_come_in_order(char **server) { stream(server, 0); }
static void corked_answers_come_in_order(char **server) { stream(server, 1); }

/* Server: two requests, answers the second. */
static void one_leads_and_another_is_answered(char **server) {
  leash_conn *c = dial(server);
  struct caller first;
  int64_t before = now();
  begin(&first, c, 1000);
  EVENTUALLY(leash_conn_int(c, LEASH_INT_PENDING) == 1);
  leash_event_free(call(c, "a", "[]"));
  CHECK(now() - before < 900);
  join(first.thread);
  CHECK_INT(first.status, LEASH_E_TIMEOUT);
  CHECK(now() - before >= 1000);
  leash_event_free(call(c, "a", "[]"));
  finish(c);
}

static void on_signal(int number) { (void)number; }

/* Server: two requests, sleeps, answers the second. */
static void who_leads_is_interrupted(char **server) {
  leash_conn *c = dial(server);
  struct caller first, second;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  CHECK_INT(sigaction(SIGUSR1, &action, NULL), 0);
  begin(&first, c, LONG);
  EVENTUALLY(waits(&first, 1));
  begin(&second, c, LONG);
  EVENTUALLY(waits(&second, 2));
  CHECK_INT(pthread_kill(first.thread, SIGUSR1), 0);
  join(first.thread);
  CHECK_INT(first.status, LEASH_E_INTERRUPTED);
  join(second.thread);
  CHECK_INT(second.status, 0);
  finish(c);
}

/* Server: a request, a flood that ends at the close. */
static void a_deadline_holds_in_a_flood(char **server) {
  leash_conn *c = dial_with(server, LEASH_OPT_QUEUE_EVENTS, 100000000);
  leash_event *e = NULL;
  int64_t before = now();
  CHECK_INT(leash_call(c, "a", NULL, 0, 200, &e), LEASH_E_TIMEOUT);
  CHECK(now() - before >= 200 && now() - before < 2000);
  CHECK_INT(leash_submit(c, "a", NULL, 0, 200, 1, NULL), 0);
  before = now();
  while (leash_event_kind(e = next(c)) != LEASH_EVENT_RESPONSE) leash_event_free(e);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_TIMEOUT);
  leash_event_free(e);
  leash_free(c);
}

static void *poll_late(void *argument) {
  leash_event *e = NULL;
  CHECK_INT(leash_poll((leash_conn *)argument, 1000, &e), 0);
  return NULL;
}

/* Server: obeys. Our pings are answered while a thread leads, and while none does. */
static void our_pings_are_answered(char **server) {
  leash_conn *c = dial_with(server, LEASH_OPT_PING_EVERY, 60);
  pthread_t leader = thread(poll_late, c);
  join(leader);
  poll(NULL, 0, 500);
  leash_event_free(call(c, "a", "[]"));
  finish(c);
}

/* Server: deaf. That no ping is answered is found while a thread leads. */
static void missing_pongs_are_seen_while_led(char **server) {
  leash_conn *c = dial_with(server, LEASH_OPT_PING_EVERY, 100);
  leash_event *e = NEXT(c, LEASH_EVENT_CLOSED);
  CHECK_HAS(text(e), "answered no ping");
  leash_event_free(e);
  leash_free(c);
}

/* Server: a request, wants a pong, answers; wants a pong, tells; wants another, tells. */
static void its_pings_are_answered(char **server) {
  leash_conn *c = dial(server);
  leash_event_free(call(c, "a", "[]"));
  /* Nobody waits. */
  EVENTUALLY(leash_conn_int(c, LEASH_INT_QUEUED) == 1);
  SKIP(c, LEASH_EVENT_NOTIFY);
  /* Somebody does. */
  SKIP(c, LEASH_EVENT_NOTIFY);
  finish(c);
}

/* Server: echoes. The host waits for the descriptor, and never for an event. */
static void a_loop_needs_no_waiting_thread(char **server) {
  leash_conn *c = dial(server);
  int fd = leash_fd(c), sent = 0, answered = 0;
  while (answered < 2000) {
    for (; sent < 2000 && sent - answered < 64; sent++) submit(c, "a", "[]", sent);
    CHECK(readable(fd, LONG));
    leash_event *e;
    int n;
    while ((n = leash_poll(c, 0, &e)) == 1) {
      CHECK_INT(num(e, LEASH_INT_TAG), answered++);
      leash_event_free(e);
    }
    CHECK_INT(n, 0);
  }
  CHECK(!readable(fd, 50));
  leash_event_free(call(c, "a", "[]"));
  finish(c);
}

static int stops;

static void *call_until_closed(void *argument) {
  leash_conn *c = (leash_conn *)argument;
  for (;;) {
    leash_event *e = NULL;
    int status = leash_call(c, "a", "[]", LEASH_NUL, LONG, &e);
    if (status == 0) status = (int)num(e, LEASH_INT_STATUS);
    leash_event_free(e);
    if (status == LEASH_E_CLOSED) return NULL;
    CHECK_INT(status, 0);
    __atomic_add_fetch(&stops, 1, __ATOMIC_RELAXED);
  }
}

/* Server: echoes. */
static void a_close_ends_a_crowd(char **server) {
  for (int round = 0; round < 10; round++) {
    leash_conn *c = dial(server);
    pthread_t threads[8];
    stops = 0;
    for (int n = 0; n < 8; n++) threads[n] = thread(call_until_closed, c);
    EVENTUALLY(__atomic_load_n(&stops, __ATOMIC_RELAXED) > 50);
    int64_t before = now();
    CHECK_INT(leash_close(c, LONG), 0);
    CHECK(now() - before < 1500);
    for (int n = 0; n < 8; n++) join(threads[n]);
    leash_event *e = closed(c);
    CHECK_INT(num(e, LEASH_INT_STATUS), 0);
    CHECK_INT(num(e, LEASH_INT_CLOSE_CODE), 1000);
    leash_event_free(e);
    leash_free(c);
  }
}

/* Server: a request, answers, and closes in the same breath. */
static void an_answer_before_a_close_counts(char **server) {
  leash_conn *c = dial(server);
  leash_event_free(call(c, "a", "[]"));
  leash_event *e = NEXT(c, LEASH_EVENT_CLOSED);
  CHECK_INT(num(e, LEASH_INT_CLOSE_CODE), 1001);
  leash_event_free(e);
  leash_free(c);
}

/* Server: a request, answers, and is gone. What is sent to it fails, but the answer counts. */
static void an_answer_before_an_end_counts(char **server) {
  leash_conn *c = dial(server);
  int64_t id = submit(c, "a", "[]", 7);
  /* Most likely its answer and its end come meanwhile, which must make no difference. */
  poll(NULL, 0, 3);
  for (int n = 0; n < 50; n++) leash_notify(c, "b", "[]", LEASH_NUL);
  leash_event *e = NEXT(c, LEASH_EVENT_RESPONSE);
  CHECK_INT(num(e, LEASH_INT_CALL), id);
  CHECK_INT(num(e, LEASH_INT_STATUS), 0);
  leash_event_free(e);
  SKIP(c, LEASH_EVENT_CLOSED);
  leash_free(c);
}

static const struct scenario all[] = {
    SCENARIO(many_threads_share_one),
    SCENARIO(large_messages_both_ways),
    SCENARIO(answers_come_in_order),
    SCENARIO(corked_answers_come_in_order),
    SCENARIO(one_leads_and_another_is_answered),
    SCENARIO(who_leads_is_interrupted),
    SCENARIO(a_deadline_holds_in_a_flood),
    SCENARIO(our_pings_are_answered),
    SCENARIO(missing_pongs_are_seen_while_led),
    SCENARIO(its_pings_are_answered),
    SCENARIO(a_loop_needs_no_waiting_thread),
    SCENARIO(a_close_ends_a_crowd),
    SCENARIO(an_answer_before_a_close_counts),
    SCENARIO(an_answer_before_an_end_counts),
};

MAIN(all)
