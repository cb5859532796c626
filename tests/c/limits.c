/* Servers that say too much, read too little, or never answer: bounded in time and memory. */
#include "check.h"

#define KIB ((int64_t)1024)
#define MIB (1024 * KIB)

/* A line of /proc/self/status, in KiB. */
static int64_t memory(const char *name) {
  char line[200];
  int64_t kib = -1;
  FILE *f = fopen("/proc/self/status", "r");
  CHECK(f != NULL);
  while (fgets(line, sizeof line, f))
    if (strncmp(line, name, strlen(name)) == 0) kib = atoll(line + strlen(name) + 1);
  fclose(f);
  CHECK(kib > 0);
  return kib;
}

/* By how much memory may have grown; valgrind has its own, so there it is not counted. */
static void grown_at_most(int64_t since, int64_t kib) {
  int64_t peak = memory("VmHWM");
  printf("grew by %lld KiB of %lld\n", (long long)(peak - since), (long long)kib);
  if (!getenv("UNCOUNTED")) CHECK(peak - since <= kib);
}

#define BIG (300 * MIB)

static void a_big_result_arrives_whole(char **server) {
  int64_t since = memory("VmRSS");
  leash_conn *c = start_with(server, LEASH_OPT_MAX_MESSAGE, BIG);
  leash_event *e = call(c, "x", NULL);
  size_t len = 0;
  const char *json = leash_event_str(e, LEASH_STR_JSON, &len);
  CHECK_INT(len, BIG - strlen("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":}"));
  CHECK_INT(strlen(json), len);
  CHECK(json[0] == '"' && json[len - 1] == '"');
  CHECK_INT(strspn(json + 1, "x"), len - 2);
  leash_event_free(e);
  grown_at_most(since, BIG / KIB * 3 / 2);
  leash_event_free(call(c, "y", NULL));
  finish(c);
}

/* The memory of a large message is kept for the next one, but not for long. */
static void a_big_result_leaves_no_memory(char **server) {
  leash_conn *c = start(server, NULL);
  int64_t since = memory("VmRSS");
  leash_event *e = call(c, "x", NULL);
  CHECK(strlen(json(e)) > 32 * MIB);
  leash_event_free(e);
  if (!getenv("UNCOUNTED")) EVENTUALLY(memory("VmRSS") - since < 4 * KIB);
  finish(c);
}

/* What waits in the queue holds its own size, and not that of a large message before it. */
static void unread_messages_hold_no_more_than_their_size(char **server) {
  leash_conn *c = start(server, NULL);
  int64_t since = memory("VmRSS");
  for (int i = 0; i < 8; i++) leash_event_free(call(c, "x", NULL));
  grown_at_most(since, 150 * KIB);
  SKIP(c, LEASH_EVENT_OPEN);
  for (int i = 0; i < 8; i++) SKIP(c, LEASH_EVENT_NOTIFY);
  finish(c);
}

static void too_big(char **server, int protocol) {
  int64_t since = memory("VmRSS");
  leash_conn *c = start_with(server, LEASH_OPT_PROTOCOL, protocol);
  SKIP(c, LEASH_EVENT_OPEN);
  int64_t id = submit(c, "x", NULL, 1);
  leash_event *e = NULL;
  CHECK_INT(leash_wait(c, id, LONG, &e), 1);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_CLOSED);
  leash_event_free(e);
  e = NEXT(c, LEASH_EVENT_CLOSED);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_TOO_BIG);
  CHECK(text(e) != NULL);
  leash_event_free(e);
  leash_free(c);
  grown_at_most(since, 2 * 64 * KIB + 32 * KIB);
}

static void too_big_by_default(char **server) { too_big(server, LEASH_PROTOCOL_JSONRPC); }
static void too_big_by_header(char **server) { too_big(server, LEASH_PROTOCOL_LSP); }

/* Messages of exactly the limit pass both ways, and one byte more does not. */
static void max_message_is_exact(char **server) {
  leash_conn *c = start_with(server, LEASH_OPT_MAX_MESSAGE, 1000);
  char params[1001];
  size_t around = strlen("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":}");
  memset(params, ' ', sizeof params);
  params[0] = '[';
  params[1000 - around - 1] = ']';
  leash_event *e = NULL;
  CHECK_FAILS(leash_call(c, "x", params, 1000 - around + 1, LONG, &e), LEASH_E_TOO_BIG);
  CHECK_FAILS(leash_call(c, "xx", params, 1000 - around, LONG, &e), LEASH_E_TOO_BIG);
  CHECK_INT(leash_call(c, "x", params, 1000 - around, LONG, &e), 0);
  size_t len = 0;
  leash_event_str(e, LEASH_STR_JSON, &len);
  CHECK_INT(len, 1000 - strlen("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":}"));
  leash_event_free(e);
  /* The next answer is one byte longer. */
  CHECK_FAILS(leash_call(c, "x", NULL, 0, LONG, &e), LEASH_E_CLOSED);
  e = closed(c);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_TOO_BIG);
  leash_event_free(e);
  leash_free(c);
}

/* ---- a server that never reads */

static void a_server_that_never_reads(char **server) {
  leash_opts *opts = with(LEASH_OPT_SEND_BYTES, MIB);
  CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_EXIT_AFTER, 100), 0);
  CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_KILL_AFTER, 100), 0);
  leash_conn *c = start(server, opts);
  leash_opts_free(opts);
  SKIP(c, LEASH_EVENT_OPEN);

  enum { SIZE = 10000 };
  char *params = (char *)malloc(2 * MIB + 1);
  memset(params, ' ', 2 * MIB);
  params[0] = '[';
  params[2 * MIB - 1] = ']';
  params[2 * MIB] = '\0';
  CHECK_FAILS(leash_notify(c, "x", params, LEASH_NUL), LEASH_E_TOO_BIG);
  params[SIZE - 1] = ']';
  int64_t sent = 0, id = 0;
  int n;
  while ((n = leash_submit(c, "x", params, SIZE, 300, 0, &id)) == 0) {
    sent += SIZE;
    CHECK(sent < 4 * MIB);
  }
  CHECK_INT(n, LEASH_E_FULL);
  CHECK(leash_last_error()[0] != '\0');
  CHECK(sent > MIB - SIZE);
  CHECK_FAILS(leash_notify(c, "x", params, SIZE), LEASH_E_FULL);
  leash_event *e = NULL;
  CHECK_FAILS(leash_call(c, "x", params, SIZE, LONG, &e), LEASH_E_FULL);
  /* What still fits ends at its deadline. */
  CHECK_FAILS(leash_call(c, "x", NULL, 0, 50, &e), LEASH_E_TIMEOUT);
  for (int64_t i = 0; i < sent / SIZE; i++) {
    e = NEXT(c, LEASH_EVENT_RESPONSE);
    CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_TIMEOUT);
    leash_event_free(e);
  }
  expect_nothing(c);
  /* Nothing was freed in the send buffer: the server did not read. */
  CHECK_FAILS(leash_notify(c, "x", params, SIZE), LEASH_E_FULL);
  CHECK_INT(leash_close(c, LONG), 0);
  e = NEXT(c, LEASH_EVENT_CLOSED);
  CHECK_INT(num(e, LEASH_INT_STATUS), 0);
  CHECK_INT(num(e, LEASH_INT_STAGE), LEASH_STAGE_TERM);
  leash_event_free(e);
  leash_free(c);
  free(params);
}

/* A server that reads late gets all of it, and FULL ends. */
static void a_late_reader_gets_everything(char **server) {
  leash_conn *c = start_with(server, LEASH_OPT_SEND_BYTES, 256 * KIB);
  char params[5000];
  memset(params, ' ', sizeof params);
  params[0] = '[';
  params[sizeof params - 1] = ']';
  pid_t pid = (pid_t)leash_conn_int(c, LEASH_INT_PID);
  CHECK_INT(kill(pid, SIGSTOP), 0);
  int64_t sent = 0, refused = 0;
  while (sent < 1000) {
    int n = leash_notify(c, "x", params, sizeof params);
    if (n == LEASH_E_FULL) {
      if (refused++ == 0) CHECK_INT(kill(pid, SIGCONT), 0);
      poll(NULL, 0, 1);
      continue;
    }
    CHECK_INT(n, 0);
    sent++;
  }
  CHECK(refused > 0);
  leash_event *e = NULL;
  int n;
  EVENTUALLY((n = leash_call(c, "count", NULL, 0, LONG, &e)) != LEASH_E_FULL);
  CHECK_INT(n, 0);
  CHECK_TEXT(json(e), "1001");
  leash_event_free(e);
  finish(c);
}

/* ---- a server that floods */

#define FLOOD 300000

static void a_flood_waits_for_the_host(char **server) {
  leash_conn *c = start_with(server, LEASH_OPT_QUEUE_EVENTS, 100);
  int64_t since = memory("VmRSS");
  EVENTUALLY(leash_conn_int(c, LEASH_INT_QUEUED) > 100);
  /* OPEN has a place of its own. */
  CHECK_INT(leash_conn_int(c, LEASH_INT_QUEUED), 101);
  /* A call whose answer sits behind the flood gives up after a second. */
  int64_t began = now();
  leash_event *e = (leash_event *)&e;
  CHECK_FAILS(leash_call(c, "x", NULL, 0, -1, &e), LEASH_E_FULL);
  CHECK(e == NULL);
  CHECK(now() - began >= 900);
  CHECK(now() - began < 10000);
  CHECK_INT(leash_conn_int(c, LEASH_INT_PENDING), 0);
  int64_t id = submit(c, "echo", "[\"wait\"]", 8);
  CHECK_FAILS(leash_wait(c, id, -1, &e), LEASH_E_FULL);
  /* Also to who never waits for a whole second. */
  int64_t other = submit(c, "echo", "[1]", 8);
  int status;
  while ((status = leash_wait(c, other, 0, &e)) == 0) {}
  CHECK_INT(status, LEASH_E_FULL);
  CHECK_INT(leash_cancel(c, other), 0);
  CHECK_INT(leash_wait(c, other, 0, &e), 1);
  leash_event_free(e);
  CHECK_INT(leash_conn_int(c, LEASH_INT_PENDING), 1);
  /* So does its deadline, if that is sooner. */
  CHECK_FAILS(leash_call(c, "x", NULL, 0, 50, &e), LEASH_E_TIMEOUT);
  /* A response that needs no reading has a place of its own. */
  int64_t ended = submit(c, "x", NULL, 9);
  CHECK_INT(leash_cancel(c, ended), 0);
  CHECK_INT(leash_conn_int(c, LEASH_INT_QUEUED), 102);
  grown_at_most(since, 8 * KIB);
  SKIP(c, LEASH_EVENT_OPEN);
  int64_t number = 0, seq = 1, ends = 0;
  while (number < FLOOD) {
    char params[30];
    e = next(c);
    CHECK(num(e, LEASH_INT_SEQ) > seq);
    seq = num(e, LEASH_INT_SEQ);
    if (leash_event_kind(e) == LEASH_EVENT_RESPONSE) {
      CHECK_INT(num(e, LEASH_INT_TAG), 9);
      CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_CANCELLED);
      ends++;
    } else {
      snprintf(params, sizeof params, "{\"n\":%lld}", (long long)number++);
      CHECK_TEXT(json(e), params);
    }
    leash_event_free(e);
  }
  CHECK_INT(ends, 1);
  CHECK_INT(leash_wait(c, id, LONG, &e), 1);
  CHECK_TEXT(json(e), "[\"wait\"]");
  leash_event_free(e);
  leash_event_free(call(c, "echo", "[]"));
  grown_at_most(since, 8 * KIB);
  finish(c);
}

static void a_flood_is_bounded_in_bytes(char **server) {
  int64_t since = memory("VmRSS");
  leash_conn *c = start_with(server, LEASH_OPT_QUEUE_BYTES, MIB);
  int64_t queued = 0;
  /* Until it grows no more: the server waits. */
  EVENTUALLY(leash_conn_int(c, LEASH_INT_QUEUED) > 100);
  leash_event *e = NULL;
  CHECK_FAILS(leash_call(c, "x", NULL, 0, -1, &e), LEASH_E_FULL);
  queued = leash_conn_int(c, LEASH_INT_QUEUED);
  CHECK(queued <= 1 + MIB / 10000 + 1);
  grown_at_most(since, 16 * KIB);
  SKIP(c, LEASH_EVENT_OPEN);
  for (int i = 0; i < 5000; i++) {
    char head[40];
    snprintf(head, sizeof head, "{\"n\":%d,\"padding\":\"xxx", i);
    e = NEXT(c, LEASH_EVENT_NOTIFY);
    CHECK(strncmp(json(e), head, strlen(head)) == 0);
    leash_event_free(e);
  }
  grown_at_most(since, 16 * KIB);
  finish(c);
}

#define PARTS 200000

/* Each part of a batch needs room of its own; what comes after it waits, too.
   Server: a request, a batch of PARTS messages and as many that are none, the answer in it,
   "after"; and ends. */
static void a_batch_waits_for_the_host(char **server) {
  leash_conn *c = start_with(server, LEASH_OPT_QUEUE_EVENTS, 10);
  int64_t since = memory("VmRSS");
  int64_t id = submit(c, "x", NULL, 7);
  EVENTUALLY(leash_conn_int(c, LEASH_INT_QUEUED) == 11);
  grown_at_most(since, 16 * KIB);
  SKIP(c, LEASH_EVENT_OPEN);
  for (int i = 0; i < PARTS; i++) {
    SKIP(c, LEASH_EVENT_NOTIFY);
    expect(c, LEASH_EVENT_NOISE, LEASH_STR_TEXT, "1");
    CHECK(leash_conn_int(c, LEASH_INT_QUEUED) <= 11);
  }
  leash_event *e = NEXT(c, LEASH_EVENT_RESPONSE);
  CHECK_INT(num(e, LEASH_INT_CALL), id);
  leash_event_free(e);
  expect(c, LEASH_EVENT_NOTIFY, LEASH_STR_METHOD, "after");
  e = closed(c);
  CHECK_INT(num(e, LEASH_INT_DISCARDED), 0);
  leash_event_free(e);
  leash_free(c);
}

/* What a server had written before it failed is there, however slowly the host takes it. */
static void last_words_wait_for_the_host(char **server) {
  leash_conn *c = start_with(server, LEASH_OPT_QUEUE_EVENTS, 10);
  SKIP(c, LEASH_EVENT_OPEN);
  for (int i = 0; i < 1000; i++) {
    char params[30];
    leash_event *e = NEXT(c, LEASH_EVENT_NOTIFY);
    snprintf(params, sizeof params, "{\"n\":%d}", i);
    CHECK_TEXT(json(e), params);
    leash_event_free(e);
  }
  leash_event *e = closed(c);
  CHECK_INT(num(e, LEASH_INT_EXIT_CODE), 1);
  CHECK_INT(num(e, LEASH_INT_DISCARDED), 0);
  leash_event_free(e);
  leash_free(c);
}

/* A host that never polls: what went past an unread event leaves nothing behind.
   Server: 3 million lines on stderr, then an echo loop. */
static void what_has_gone_past_holds_no_memory(char **server) {
  leash_conn *c = start(server, NULL);
  int64_t since = memory("VmRSS");
  for (int i = 0; i < 1000; i++) leash_event_free(call(c, "echo", "[1]"));
  grown_at_most(since, 8 * KIB);
  finish(c);
}

/* One message of any allowed size has a place in an empty queue. */
static void one_message_always_fits(char **server) {
  leash_opts *opts = with(LEASH_OPT_QUEUE_BYTES, 1);
  CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_QUEUE_EVENTS, 1), 0);
  leash_conn *c = start(server, opts);
  leash_opts_free(opts);
  SKIP(c, LEASH_EVENT_OPEN);
  for (int i = 0; i < 3; i++) {
    EVENTUALLY(leash_conn_int(c, LEASH_INT_QUEUED) == 1);
    leash_event *e = NEXT(c, LEASH_EVENT_NOTIFY);
    CHECK(strlen(json(e)) > 100000);
    leash_event_free(e);
  }
  finish(c);
}

/* The end of a connection whose events nobody takes. */
static void a_close_amid_a_flood(char **server) {
  leash_opts *opts = with(LEASH_OPT_QUEUE_EVENTS, 10);
  CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_EXIT_AFTER, LONG), 0);
  leash_conn *c = start(server, opts);
  leash_opts_free(opts);
  int64_t id = submit(c, "x", NULL, 4);
  EVENTUALLY(leash_conn_int(c, LEASH_INT_QUEUED) == 11);
  CHECK_INT(leash_close(c, LONG), 0);
  SKIP(c, LEASH_EVENT_OPEN);
  int n = 0;
  size_t past = 0;
  leash_event *e;
  while (leash_event_kind(e = next(c)) == LEASH_EVENT_NOTIFY) {
    leash_event_free(e);
    n++;
  }
  CHECK_INT(leash_event_kind(e), LEASH_EVENT_RESPONSE);
  CHECK_INT(num(e, LEASH_INT_CALL), id);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_CLOSED);
  leash_event_free(e);
  CHECK_INT(n, 10);
  /* Reading goes past the limit by what a pipe holds; the rest is counted. */
  while (leash_event_kind(e = next(c)) == LEASH_EVENT_NOTIFY) {
    past += strlen("{\"jsonrpc\":\"2.0\",\"method\":\"flood\",\"params\":}") + strlen(json(e));
    leash_event_free(e);
  }
  CHECK(past >= MIB && past < MIB + 100);
  CHECK_INT(leash_event_kind(e), LEASH_EVENT_CLOSED);
  CHECK_INT(num(e, LEASH_INT_STATUS), 0);
  CHECK_INT(num(e, LEASH_INT_STAGE), LEASH_STAGE_EXITED);
  CHECK(num(e, LEASH_INT_DISCARDED) > 1000);
  leash_event_free(e);
  leash_free(c);
}

/* The peer asks without end and reads no answer: what we owe it is bounded. */
static void a_peer_that_only_asks(char **server) {
  leash_opts *opts = with(LEASH_OPT_SEND_BYTES, 100 * KIB);
  CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_EXIT_AFTER, 100), 0);
  leash_conn *c = start(server, opts);
  leash_opts_free(opts);
  int64_t since = memory("VmRSS"), answered = 0;
  leash_event *e = NULL;
  SKIP(c, LEASH_EVENT_OPEN);
  /* Freed unanswered, each is refused by the library, until that waits for the peer. */
  while (leash_poll(c, 1000, &e) == 1) {
    leash_event_free(e);
    answered++;
    CHECK(answered < 1000000);
  }
  CHECK(answered > 100);
  grown_at_most(since, 16 * KIB);
  CHECK_INT(leash_close(c, LONG), 0);
  leash_free(c);
}

/* The server talks without end, and another thread makes room for it: there is always
 * something to read, and never the answer. */
static void *poll_until_closed(void *arg) {
  leash_conn *c = (leash_conn *)arg;
  leash_event *e = NULL;
  while (leash_poll(c, LONG, &e) == 1) leash_event_free(e);
  return NULL;
}

static void a_deadline_holds_amid_a_flood(char **server) {
  leash_conn *c = start_with(server, LEASH_OPT_EXIT_AFTER, 100);
  pthread_t poller = thread(poll_until_closed, c);
  for (int i = 0; i < 3; i++) {
    leash_event *e = NULL;
    int64_t begun = now();
    CHECK_FAILS(leash_call(c, "x", NULL, LEASH_NUL, 300, &e), LEASH_E_TIMEOUT);
    CHECK(now() - begun >= 300);
    int64_t id = submit(c, "x", NULL, 1);
    CHECK_INT(leash_wait(c, id, 100, &e), 0);
  }
  CHECK_INT(leash_close(c, LONG), 0);
  join(poller);
  leash_free(c);
}

/* ---- large requests: what the pipe has no room for is written while their caller waits */

#define LARGE (4 * MIB)

/* An array with one string. */
static char *large_params(void) {
  char *params = (char *)malloc(LARGE + 1);
  CHECK(params != NULL);
  memset(params, 'x', LARGE);
  memcpy(params, "[\"", 2);
  memcpy(params + LARGE - 2, "\"]", 3);
  return params;
}

static void *tell_often(void *arg) {
  for (int i = 0; i < 200; i++)
    CHECK_INT(leash_notify((leash_conn *)arg, "tell", "[1]", LEASH_NUL), 0);
  return NULL;
}

static void large_echo(leash_conn *c, const char *params) {
  leash_event *e = call(c, "echo", params);
  CHECK(strcmp(json(e), params) == 0);
  leash_event_free(e);
}

/* What other threads send meanwhile does not come in between. */
static void a_large_call_stays_in_one_piece(char **server) {
  leash_conn *c = start(server, NULL);
  char *params = large_params();
  pthread_t teller = thread(tell_often, c);
  large_echo(c, params);
  join(teller);
  large_echo(c, params);
  leash_event_free(call(c, "echo", "[1]"));
  free(params);
  finish(c);
}

/* The server talks before it reads: both ways at once. */
static void a_large_call_to_a_server_that_talks(char **server) {
  leash_conn *c = start(server, NULL);
  char *params = large_params();
  large_echo(c, params);
  SKIP(c, LEASH_EVENT_OPEN);
  for (int i = 0; i < 3000; i++) SKIP(c, LEASH_EVENT_NOTIFY);
  free(params);
  finish(c);
}

/* The caller gives up in the middle. The message goes whole all the same: there is no way to
 * take back half of one. */
static void a_large_call_is_finished_without_its_caller(char **server) {
  leash_conn *c = start(server, NULL);
  char *params = large_params();
  leash_event *e = NULL;
  pid_t pid = (pid_t)leash_conn_int(c, LEASH_INT_PID);
  CHECK_INT(kill(pid, SIGSTOP), 0);
  CHECK_FAILS(leash_call(c, "echo", params, LEASH_NUL, 200, &e), LEASH_E_TIMEOUT);
  CHECK_INT(kill(pid, SIGCONT), 0);
  memset(params, '!', LARGE); /* it is the host's again */
  leash_event_free(call(c, "echo", "[1]"));
  SKIP(c, LEASH_EVENT_OPEN);
  e = NEXT(c, LEASH_EVENT_NOISE);
  CHECK_HAS(text(e), "\"id\":1,\"result\":[\"xxxx");
  leash_event_free(e);
  free(params);
  finish(c);
}

static leash_conn *stuck;

static void *call_stuck(void *arg) {
  leash_event *e = NULL;
  CHECK_FAILS(leash_call(stuck, "echo", (const char *)arg, LEASH_NUL, LONG, &e), LEASH_E_CLOSED);
  return NULL;
}

static void a_large_call_ends_with_its_connection(char **server) {
  stuck = start_with(server, LEASH_OPT_EXIT_AFTER, 100);
  char *params = large_params();
  pthread_t caller = thread(call_stuck, params);
  EVENTUALLY(leash_conn_int(stuck, LEASH_INT_PENDING) == 1);
  CHECK_INT(leash_close(stuck, LONG), 0);
  join(caller);
  leash_free(stuck);
  free(params);
}

static void a_large_call_to_a_server_that_goes(char **server) {
  leash_conn *c = start(server, NULL);
  char *params = large_params();
  leash_event *e = NULL;
  CHECK_FAILS(leash_call(c, "echo", params, LEASH_NUL, LONG, &e), LEASH_E_CLOSED);
  leash_event_free(closed(c));
  leash_free(c);
  free(params);
}

/* ---- many threads */

#define THREADS 64
#define CALLS 200

static void *call_often(void *arg) {
  leash_conn *c = (leash_conn *)arg;
  for (int i = 0; i < CALLS; i++) {
    char params[60];
    snprintf(params, sizeof params, "[\"%lx\",%d]", (unsigned long)pthread_self(), i);
    leash_event *e = call(c, "echo", params);
    CHECK_TEXT(json(e), params);
    leash_event_free(e);
  }
  return NULL;
}

static void many_threads_call_at_once(char **server) {
  leash_conn *c = start(server, NULL);
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) threads[i] = thread(call_often, c);
  for (int i = 0; i < THREADS; i++) join(threads[i]);
  CHECK_INT(leash_conn_int(c, LEASH_INT_PENDING), 0);
  SKIP(c, LEASH_EVENT_OPEN);
  expect_nothing(c);
  finish(c);
}

static const struct scenario all[] = {
  SCENARIO(a_big_result_arrives_whole),
  SCENARIO(a_big_result_leaves_no_memory),
  SCENARIO(unread_messages_hold_no_more_than_their_size),
  SCENARIO(too_big_by_default),
  SCENARIO(too_big_by_header),
  SCENARIO(max_message_is_exact),
  SCENARIO(a_server_that_never_reads),
  SCENARIO(a_late_reader_gets_everything),
  SCENARIO(a_flood_waits_for_the_host),
  SCENARIO(a_flood_is_bounded_in_bytes),
  SCENARIO(a_batch_waits_for_the_host),
  SCENARIO(last_words_wait_for_the_host),
  SCENARIO(what_has_gone_past_holds_no_memory),
  SCENARIO(one_message_always_fits),
  SCENARIO(a_close_amid_a_flood),
  SCENARIO(a_peer_that_only_asks),
  SCENARIO(a_deadline_holds_amid_a_flood),
  SCENARIO(a_large_call_stays_in_one_piece),
  SCENARIO(a_large_call_to_a_server_that_talks),
  SCENARIO(a_large_call_is_finished_without_its_caller),
  SCENARIO(a_large_call_ends_with_its_connection),
  SCENARIO(a_large_call_to_a_server_that_goes),
  SCENARIO(many_threads_call_at_once),
};
MAIN(all)
