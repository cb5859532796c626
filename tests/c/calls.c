/* Requests, notifications and their answers. */
#include "check.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PAYLOAD "{\"x\":1.0,\"y\":12345678901234567890,\"z\":\"\\u00e9\"}"

static void open_is_first_and_closed_is_last(char **server) {
  leash_conn *c = start(server, NULL);
  CHECK(leash_conn_int(c, LEASH_INT_PID) > 0);
  leash_event *e = NEXT(c, LEASH_EVENT_OPEN);
  CHECK_INT(num(e, LEASH_INT_SEQ), 1);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_NONE);
  CHECK_TEXT(json(e), NULL);
  leash_event_free(e);
  expect_nothing(c);
  CHECK_INT(leash_close(c, LONG), 0);
  e = NEXT(c, LEASH_EVENT_CLOSED);
  CHECK_INT(num(e, LEASH_INT_SEQ), 2);
  CHECK_INT(num(e, LEASH_INT_STATUS), 0);
  CHECK_INT(num(e, LEASH_INT_EXIT_CODE), 0);
  CHECK_INT(num(e, LEASH_INT_EXIT_SIGNAL), LEASH_NONE);
  CHECK_INT(num(e, LEASH_INT_STAGE), LEASH_STAGE_EXITED);
  CHECK_INT(num(e, LEASH_INT_KILLED), 0);
  CHECK_INT(num(e, LEASH_INT_LEFT), 0);
  CHECK_INT(num(e, LEASH_INT_DISCARDED), 0);
  CHECK_INT(num(e, LEASH_INT_DROPPED), 0);
  CHECK_INT(num(e, LEASH_INT_CLOSE_CODE), LEASH_NONE);
  CHECK_INT(num(e, LEASH_INT_OS_ERROR), LEASH_NONE);
  CHECK(text(e) != NULL);
  leash_event_free(e);
  for (int i = 0; i < 3; i++) {
    e = (leash_event *)&e;
    CHECK_FAILS(leash_poll(c, i == 2 ? -1 : 0, &e), LEASH_E_CLOSED);
    CHECK(e == NULL);
  }
  leash_free(c);
}

static void calls_before_open_are_held(char **server) {
  leash_conn *c = NULL;
  CHECK_INT(leash_connect((const char *const *)server, NULL, 0, &c), 0);
  CHECK_INT(leash_notify(c, "hello", NULL, 0), 0);
  int64_t id = submit(c, "echo", "[1]", 5);
  leash_event *e = call(c, "echo", "[2]");
  CHECK_TEXT(json(e), "[2]");
  leash_event_free(e);
  SKIP(c, LEASH_EVENT_OPEN);
  e = NEXT(c, LEASH_EVENT_RESPONSE);
  CHECK_INT(num(e, LEASH_INT_CALL), id);
  CHECK_TEXT(json(e), "[1]");
  leash_event_free(e);
  finish(c);
}

/* A program that is not there, found out without waiting. */
static void closed_without_open(char **server) {
  leash_conn *c = NULL;
  CHECK_INT(leash_connect((const char *const *)server, NULL, 0, &c), 0);
  leash_event *e = NEXT(c, LEASH_EVENT_CLOSED);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_CONNECT);
  CHECK_HAS(text(e), "No such file or directory");
  leash_event_free(e);
  CHECK_INT(leash_close(c, LONG), 0);
  leash_free(c);
}

static void payloads_are_the_peers(char **server) {
  static const char *const all[] = {
    PAYLOAD, "[]", "{}", "[ 1.50e+10 , -0.0,1E400 ]", "{\"b\":1,\"a\":2,\"b\":3}",
    "{\"\\u2028\":\"\\ud83d\\ude00\\u0000\\/\"}", "[\"\xe2\x80\xa8\xc2\x85\xf0\x9f\x98\x80\"]"
  };
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    leash_event *e = call(c, "echo", all[i]);
    CHECK_TEXT(json(e), all[i]);
    leash_event_free(e);
    /* The same by length, out of a longer text. */
    char longer[200];
    snprintf(longer, sizeof longer, "%s}]\"", all[i]);
    CHECK_INT(leash_call(c, "echo", longer, strlen(all[i]), LONG, &e), 0);
    CHECK_TEXT(json(e), all[i]);
    leash_event_free(e);
  }
  leash_event *e = call(c, "echo", NULL);
  CHECK_TEXT(json(e), "null");
  leash_event_free(e);
  finish(c);
}

static void payloads_over_content_length(char **server) {
  leash_conn *c = start_with(server, LEASH_OPT_PROTOCOL, LEASH_PROTOCOL_LSP);
  SKIP(c, LEASH_EVENT_OPEN);
  leash_event *e = call(c, "echo", PAYLOAD);
  CHECK_TEXT(json(e), PAYLOAD);
  leash_event_free(e);
  /* Where a length ends a message, newlines stay. */
  e = call(c, "echo", "[1,\r\n2]");
  CHECK_TEXT(json(e), "[1,\r\n2]");
  leash_event_free(e);
  finish(c);
}

static void every_protocol_can_call(char **server) {
  for (int protocol = 0; protocol <= 4; protocol++) {
    if (protocol == LEASH_PROTOCOL_LSP) continue;
    leash_conn *c = start_with(server, LEASH_OPT_PROTOCOL, protocol);
    leash_event *e = call(c, "echo", PAYLOAD);
    CHECK_TEXT(json(e), PAYLOAD);
    leash_event_free(e);
    finish(c);
  }
}

static void refused(leash_conn *c, int64_t code, const char *message, const char *data) {
  leash_event *e = NULL;
  CHECK_FAILS(leash_call(c, "x", NULL, 0, LONG, &e), LEASH_E_RPC);
  CHECK(e != NULL);
  CHECK_INT(leash_event_kind(e), LEASH_EVENT_RESPONSE);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_RPC);
  CHECK_INT(num(e, LEASH_INT_RPC_CODE), code);
  CHECK_TEXT(text(e), message);
  CHECK_TEXT(json(e), data);
  leash_event_free(e);
}

static void errors_have_code_message_and_data(char **server) {
  leash_conn *c = start(server, NULL);
  refused(c, -32050, "n\xc3\xb6 \xef\xbf\xbd", PAYLOAD);
  refused(c, -32601, "no such method", NULL);
  refused(c, LEASH_NONE, "no code", NULL);
  refused(c, 1, NULL, "null");
  refused(c, LEASH_NONE, NULL, "\"just text\"");
  /* A result of null, with an error of null as JSON-RPC 1.0 has it. */
  leash_event *e = call(c, "x", NULL);
  CHECK_TEXT(json(e), "null");
  leash_event_free(e);
  finish(c);
}

static void a_response_has_tag_call_and_seq(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  int64_t first = submit(c, "echo", "[1]", INT64_MAX);
  int64_t second = submit(c, "echo", "{\"n\":2}", -7);
  CHECK(second != first);
  CHECK_INT(leash_submit(c, "echo", "[3]", 3, LONG, 0, NULL), 0);
  leash_event *e = NEXT(c, LEASH_EVENT_RESPONSE);
  CHECK_INT(num(e, LEASH_INT_STATUS), 0);
  CHECK_INT(num(e, LEASH_INT_CALL), first);
  CHECK_INT(num(e, LEASH_INT_TAG), INT64_MAX);
  CHECK_INT(num(e, LEASH_INT_SEQ), 2);
  CHECK_INT(num(e, LEASH_INT_RPC_CODE), LEASH_NONE);
  CHECK_TEXT(json(e), "[1]");
  CHECK_TEXT(text(e), NULL);
  CHECK_TEXT(str(e, LEASH_STR_METHOD), NULL);
  leash_event_free(e);
  e = NEXT(c, LEASH_EVENT_RESPONSE);
  CHECK_INT(num(e, LEASH_INT_CALL), second);
  CHECK_INT(num(e, LEASH_INT_TAG), -7);
  CHECK_INT(num(e, LEASH_INT_SEQ), 3);
  leash_event_free(e);
  e = NEXT(c, LEASH_EVENT_RESPONSE);
  CHECK_INT(num(e, LEASH_INT_TAG), 0);
  CHECK_TEXT(json(e), "[3]");
  leash_event_free(e);
  CHECK_INT(leash_conn_int(c, LEASH_INT_PENDING), 0);
  CHECK_INT(leash_conn_int(c, LEASH_INT_QUEUED), 0);
  finish(c);
}

/* The server answers ten requests in reverse. */
static void waits_are_out_of_order(char **server) {
  leash_conn *c = start(server, NULL);
  int64_t ids[10];
  char params[20];
  for (int i = 0; i < 10; i++) {
    CHECK_INT(leash_conn_int(c, LEASH_INT_PENDING), i);
    snprintf(params, sizeof params, "[%d]", i);
    ids[i] = submit(c, "echo", params, i);
  }
  static const int order[10] = { 5, 0, 9, 1, 8, 2, 7, 3, 6, 4 };
  for (int i = 0; i < 10; i++) {
    leash_event *e = NULL;
    CHECK_INT(leash_wait(c, ids[order[i]], LONG, &e), 1);
    snprintf(params, sizeof params, "[%d]", order[i]);
    CHECK_TEXT(json(e), params);
    CHECK_INT(num(e, LEASH_INT_TAG), order[i]);
    CHECK_INT(num(e, LEASH_INT_CALL), ids[order[i]]);
    leash_event_free(e);
    e = (leash_event *)&e;
    CHECK_FAILS(leash_wait(c, ids[order[i]], LONG, &e), LEASH_E_STATE);
    CHECK(e == NULL);
  }
  SKIP(c, LEASH_EVENT_OPEN);
  expect_nothing(c);
  finish(c);
}

static void a_response_that_came_before_can_be_taken(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  int64_t id = submit(c, "echo", "[1]", 1);
  EVENTUALLY(leash_conn_int(c, LEASH_INT_QUEUED) == 1);
  CHECK_INT(leash_conn_int(c, LEASH_INT_PENDING), 0);
  leash_event *e = NULL;
  CHECK_INT(leash_wait(c, id, 0, &e), 1);
  CHECK_TEXT(json(e), "[1]");
  leash_event_free(e);
  expect_nothing(c);
  CHECK_INT(leash_conn_int(c, LEASH_INT_QUEUED), 0);
  /* What a poll has taken is gone for a wait. */
  id = submit(c, "echo", "[2]", 1);
  SKIP(c, LEASH_EVENT_RESPONSE);
  CHECK_FAILS(leash_wait(c, id, LONG, &e), LEASH_E_STATE);
  CHECK_FAILS(leash_wait(c, id + 1, LONG, &e), LEASH_E_STATE);
  CHECK_FAILS(leash_wait(c, 0, LONG, &e), LEASH_E_STATE);
  CHECK_FAILS(leash_wait(c, -1, LONG, &e), LEASH_E_STATE);
  finish(c);
}

struct wait {
  leash_conn *c;
  int64_t id;
};

static void *wait_for_it(void *arg) {
  struct wait *w = (struct wait *)arg;
  leash_event *e = NULL;
  int n;
  /* The other thread looks whether we wait, and may have got there first. */
  do n = leash_wait(w->c, w->id, LONG, &e);
  while (n == LEASH_E_STATE);
  CHECK_INT(n, 1);
  CHECK_TEXT(json(e), "[\"mine\"]");
  leash_event_free(e);
  return NULL;
}

static void one_thread_waits_for_a_call(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  struct wait w;
  w.c = c;
  w.id = submit(c, "x", NULL, 0);
  leash_event *e = NULL;
  CHECK_INT(leash_wait(c, w.id, 20, &e), 0);
  CHECK(e == NULL);
  CHECK_INT(leash_wait(c, w.id, 0, &e), 0);
  pthread_t t = thread(wait_for_it, &w);
  int n;
  EVENTUALLY((n = leash_wait(c, w.id, 0, &e)) == LEASH_E_STATE);
  CHECK(e == NULL);
  CHECK_INT(leash_notify(c, "go", NULL, 0), 0);
  join(t);
  expect_nothing(c);
  finish(c);
}

static void *wait_cancelled(void *arg) {
  struct wait *w = (struct wait *)arg;
  leash_event *e = NULL;
  int n;
  do n = leash_wait(w->c, w->id, LONG, &e);
  while (n == LEASH_E_STATE);
  CHECK_INT(n, 1);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_CANCELLED);
  leash_event_free(e);
  return NULL;
}

static void a_cancel_ends_another_threads_wait(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  struct wait w;
  w.c = c;
  w.id = submit(c, "x", NULL, 0);
  pthread_t t = thread(wait_cancelled, &w);
  leash_event *e = NULL;
  EVENTUALLY(leash_wait(c, w.id, 0, &e) == LEASH_E_STATE);
  CHECK_INT(leash_cancel(c, w.id), 0);
  join(t);
  expect_nothing(c);
  finish(c);
}

static void cancelled(leash_conn *c, int64_t id, int64_t tag) {
  leash_event *e = NULL;
  CHECK_INT(leash_wait(c, id, 0, &e), 1);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_CANCELLED);
  CHECK_INT(num(e, LEASH_INT_CALL), id);
  CHECK_INT(num(e, LEASH_INT_TAG), tag);
  CHECK(text(e) != NULL);
  CHECK_TEXT(json(e), NULL);
  leash_event_free(e);
}

/* The server copies what it reads to stderr, and answers request 2 at its end. */
static void what_a_cancel_sends(char **server, int protocol, const char *notification) {
  const char *head = protocol == LEASH_PROTOCOL_BARE ? "{" : "{\"jsonrpc\":\"2.0\",";
  const char *const bodies[] = {
    "\"id\":1,\"method\":\"initialize\"", "\"id\":2,\"method\":\"work\",\"params\":{}",
    notification, "\"method\":\"end\""
  };
  char line[200];
  leash_conn *c = start_with(server, LEASH_OPT_PROTOCOL, protocol);
  SKIP(c, LEASH_EVENT_OPEN);
  int64_t initialize = submit(c, "initialize", NULL, 1);
  int64_t work = submit(c, "work", "{}", 2);
  CHECK_INT(leash_cancel(c, initialize), 0);
  CHECK_INT(leash_cancel(c, work), 0);
  CHECK_FAILS(leash_cancel(c, work), LEASH_E_STATE);
  CHECK_FAILS(leash_cancel(c, work + 1), LEASH_E_STATE);
  CHECK_FAILS(leash_cancel(c, 0), LEASH_E_STATE);
  CHECK_INT(leash_conn_int(c, LEASH_INT_PENDING), 0);
  cancelled(c, initialize, 1);
  cancelled(c, work, 2);
  CHECK_INT(leash_notify(c, "end", NULL, 0), 0);
  /* stdout and stderr are two pipes: the late answer comes anywhere among the lines. */
  int late = 0;
  for (int i = 0; i < 4 || !late;) {
    if (i < 4 && !bodies[i]) {
      i++;
      continue;
    }
    leash_event *e = next(c);
    if (leash_event_kind(e) == LEASH_EVENT_NOISE) {
      CHECK_TEXT(text(e), "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":[]}");
      late++;
    } else {
      CHECK_INT(leash_event_kind(e), LEASH_EVENT_STDERR);
      CHECK(i < 4);
      snprintf(line, sizeof line, "%s%s}", head, bodies[i++]);
      CHECK_TEXT(text(e), line);
    }
    leash_event_free(e);
  }
  finish(c);
}

static void cancel_jsonrpc(char **server) {
  what_a_cancel_sends(server, LEASH_PROTOCOL_JSONRPC, NULL);
}
static void cancel_bare(char **server) { what_a_cancel_sends(server, LEASH_PROTOCOL_BARE, NULL); }
static void cancel_mcp(char **server) {
  what_a_cancel_sends(server, LEASH_PROTOCOL_MCP,
                      "\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":2}");
}
static void cancel_acp(char **server) {
  what_a_cancel_sends(server, LEASH_PROTOCOL_ACP,
                      "\"method\":\"$/cancel_request\",\"params\":{\"requestId\":2}");
}
static void cancel_lsp(char **server) {
  what_a_cancel_sends(server, LEASH_PROTOCOL_LSP,
                      "\"method\":\"$/cancelRequest\",\"params\":{\"id\":2}");
}

/* The server answers nothing but request 1, and that when told to. */
static void deadlines_end_calls(char **server) {
  leash_conn *c = start_with(server, LEASH_OPT_PROTOCOL, LEASH_PROTOCOL_MCP);
  SKIP(c, LEASH_EVENT_OPEN);
  int64_t ids[3], began = now();
  CHECK_INT(leash_submit(c, "a", NULL, 0, 150, 1, &ids[0]), 0);
  CHECK_INT(leash_submit(c, "b", NULL, 0, 50, 2, &ids[1]), 0);
  CHECK_INT(leash_submit(c, "initialize", NULL, 0, 100, 3, &ids[2]), 0);
  leash_event *e = (leash_event *)&e;
  CHECK_FAILS(leash_call(c, "c", NULL, 0, 200, &e), LEASH_E_TIMEOUT);
  CHECK(e == NULL);
  CHECK(now() - began >= 200);
  for (int i = 0; i < 3; i++) {
    CHECK_INT(leash_wait(c, ids[i], LONG, &e), 1);
    CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_TIMEOUT);
    CHECK_INT(num(e, LEASH_INT_TAG), i + 1);
    CHECK_FAILS(leash_cancel(c, ids[i]), LEASH_E_STATE);
    leash_event_free(e);
  }
  CHECK_INT(leash_conn_int(c, LEASH_INT_PENDING), 0);
  finish(c);
}

/* What the server reads: four requests, and three cancels, none for initialize. */
static void deadlines_tell_the_peer(char **server) {
  leash_conn *c = start_with(server, LEASH_OPT_PROTOCOL, LEASH_PROTOCOL_MCP);
  SKIP(c, LEASH_EVENT_OPEN);
  leash_event *e = NULL;
  CHECK_FAILS(leash_call(c, "initialize", NULL, 0, 30, &e), LEASH_E_TIMEOUT);
  CHECK_FAILS(leash_call(c, "called", NULL, 0, 30, &e), LEASH_E_TIMEOUT);
  expect_stderr(c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\"}");
  expect_stderr(c, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"called\"}");
  expect_stderr(c, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\","
                   "\"params\":{\"requestId\":2}}");
  CHECK_INT(leash_submit(c, "submitted", NULL, 0, 30, 0, NULL), 0);
  int lines = 0;
  while (lines < 2) {
    e = next(c);
    if (leash_event_kind(e) == LEASH_EVENT_STDERR) {
      CHECK_TEXT(text(e), lines++ ? "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\","
                                    "\"params\":{\"requestId\":3}}"
                                  : "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"submitted\"}");
    } else {
      CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_TIMEOUT);
    }
    leash_event_free(e);
  }
  finish(c);
}

static void notifications_are_sent_as_given(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  CHECK_INT(leash_notify(c, "a/b", NULL, 0), 0);
  CHECK_INT(leash_notify(c, "q\"\\\n\xc3\xa9", "[1,\r\n 2.0]", LEASH_NUL), 0);
  CHECK_INT(leash_notify(c, "n", PAYLOAD "x", sizeof PAYLOAD - 1), 0);
  expect_stderr(c, "{\"jsonrpc\":\"2.0\",\"method\":\"a/b\"}");
  expect_stderr(c, "{\"jsonrpc\":\"2.0\",\"method\":\"q\\\"\\\\\\n\xc3\xa9\",\"params\":[1,   2.0]}");
  expect_stderr(c, "{\"jsonrpc\":\"2.0\",\"method\":\"n\",\"params\":" PAYLOAD "}");
  finish(c);
}

/* What lies in the server's stdin, which it never reads. */
static int waiting(int stdin_of_server) {
  int n = -1;
  CHECK_INT(ioctl(stdin_of_server, FIONREAD, &n), 0);
  return n;
}

/* The server asks three things and then reads nothing. */
static void corked_output_waits_for_a_flush(char **server) {
  leash_opts *opts = with(LEASH_OPT_CORK, 1);
  CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_EXIT_AFTER, 0), 0);
  leash_conn *c = start(server, opts);
  leash_opts_free(opts);
  SKIP(c, LEASH_EVENT_OPEN);
  leash_event *ask = NEXT(c, LEASH_EVENT_REQUEST), *forget = NEXT(c, LEASH_EVENT_REQUEST);
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/fd/0", (int)leash_conn_int(c, LEASH_INT_PID));
  int in = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), sent = 0;
  CHECK(in >= 0);
  leash_event *e = NULL;
  for (int how = 0; how < 7; how++) {
    CHECK_INT(waiting(in), sent);
    int64_t id = submit(c, "a", NULL, 0);
    CHECK_INT(leash_notify(c, "b", NULL, 0), 0);
    CHECK_INT(waiting(in), sent);
    switch (how) {
    case 0: CHECK_INT(leash_flush(c), 0); break;
    case 1: CHECK_INT(leash_poll(c, 0, &e), 0); break;
    case 2: CHECK_INT(leash_wait(c, id, 0, &e), 0); break;
    case 3: CHECK_INT(leash_call(c, "c", NULL, 0, 10, &e), LEASH_E_TIMEOUT); break;
    case 4: CHECK_INT(leash_reply(ask, "1", LEASH_NUL), 0); break;
    case 5: leash_event_free(forget); break;
    default:
      for (int i = 0; i < 2000 && waiting(in) == sent; i++)
        CHECK_INT(leash_notify(c, "0123456789012345678901234567890123456789", NULL, 0), 0);
      CHECK(waiting(in) > sent + 60000);
    }
    CHECK(waiting(in) > sent + 50);
    sent = waiting(in);
  }
  /* Nothing to flush is no failure. */
  CHECK_INT(leash_flush(c), 0);
  CHECK_INT(leash_flush(c), 0);
  close(in);
  leash_event_free(ask);
  CHECK_INT(leash_close(c, LONG), 0);
  CHECK_FAILS(leash_flush(c), LEASH_E_CLOSED);
  leash_free(c);
}

/* ---- what a limit means */

static int leader;

static void *lead(void *connection) {
  leash_event *e = NULL;
  __atomic_store_n(&leader, (int)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
  CHECK_FAILS(leash_poll((leash_conn *)connection, -1, &e), LEASH_E_INTERRUPTED);
  return NULL;
}

/* Another thread reads meanwhile. */
static void a_wait_of_nothing_does_not_sleep(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  int64_t id = submit(c, "x", NULL, 0);
  pthread_t t = thread(lead, c);
  EVENTUALLY(__atomic_load_n(&leader, __ATOMIC_SEQ_CST) && sleeps(leader));
  struct rusage before, after;
  CHECK_INT(getrusage(RUSAGE_THREAD, &before), 0);
  leash_event *e = NULL;
  for (int i = 0; i < 1000; i++) CHECK_INT(leash_wait(c, id, 0, &e), 0);
  CHECK_INT(getrusage(RUSAGE_THREAD, &after), 0);
  CHECK(after.ru_nvcsw - before.ru_nvcsw < 100);
  CHECK_INT(leash_wake(c), 0);
  join(t);
  leash_free(c);
}

/* Stop `host` as soon as it sleeps, let the server answer, and let the host go on when it is
 * `until`. */
static void delay(pid_t host, const char *go, const char *done, int64_t until) {
  while (!sleeps(host) && now() < until) poll(NULL, 0, 1);
  kill(host, SIGSTOP);
  close(open(go, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  while (access(done, F_OK) != 0 && now() < until + LONG) poll(NULL, 0, 1);
  while (now() < until) poll(NULL, 0, 1);
  kill(host, SIGCONT);
  _exit(0);
}

/* Server: answers once there is $FOLDER/go, and makes $FOLDER/done. */
static void who_runs_late_has_what_came_in_time(char **server) {
  const int64_t limit = 3000;
  char go[4096], done[4096];
  snprintf(go, sizeof go, "%s/go", getenv("FOLDER"));
  snprintf(done, sizeof done, "%s/done", getenv("FOLDER"));
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  int64_t until = now() + limit + 200;
  pid_t host = getpid(), child = fork();
  CHECK(child >= 0);
  if (child == 0) delay(host, go, done, until);
  leash_event *e = NULL;
  CHECK_INT(leash_call(c, "x", NULL, 0, limit, &e), 0);
  CHECK(now() >= until);
  CHECK_TEXT(json(e), "7");
  leash_event_free(e);
  CHECK_INT(waitpid(child, NULL, 0), child);
  leash_free(c);
}

/* The same, while nobody waits, and while a poll does. */
static void who_runs_late_has_what_it_submitted(char **server) {
  const int64_t limit = 3000;
  char go[4096], done[4096];
  snprintf(go, sizeof go, "%s/go", getenv("FOLDER"));
  snprintf(done, sizeof done, "%s/done", getenv("FOLDER"));
  for (int polls = 0; polls < 2; polls++) {
    leash_conn *c = start(server, NULL);
    SKIP(c, LEASH_EVENT_OPEN);
    int64_t until = now() + limit + 200;
    CHECK_INT(leash_submit(c, "x", NULL, 0, limit, 0, NULL), 0);
    pid_t host = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) delay(host, go, done, until);
    if (!polls) CHECK_INT(waitpid(child, NULL, 0), child);
    leash_event *e = next(c);
    CHECK(now() >= until);
    CHECK_INT(leash_event_kind(e), LEASH_EVENT_RESPONSE);
    CHECK_TEXT(json(e), "7");
    leash_event_free(e);
    if (polls) CHECK_INT(waitpid(child, NULL, 0), child);
    CHECK_INT(unlink(go) | unlink(done), 0);
    leash_free(c);
  }
}

static void *calls_in_time(void *connection) {
  leash_event *e = NULL;
  CHECK_INT(leash_call((leash_conn *)connection, "x", NULL, 0, 3000, &e), 0);
  CHECK_TEXT(json(e), "7");
  leash_event_free(e);
  return NULL;
}

/* Server: makes $FOLDER/read when it has read four calls. One thread reads for all. */
static void who_follows_one_that_runs_late_has_it_too(char **server) {
  char go[4096], done[4096], has_read[4096];
  pthread_t threads[4];
  snprintf(go, sizeof go, "%s/go", getenv("FOLDER"));
  snprintf(done, sizeof done, "%s/done", getenv("FOLDER"));
  snprintf(has_read, sizeof has_read, "%s/read", getenv("FOLDER"));
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  for (int i = 0; i < 4; i++) threads[i] = thread(calls_in_time, c);
  EVENTUALLY(access(has_read, F_OK) == 0);
  pid_t host = getpid(), child = fork();
  CHECK(child >= 0);
  if (child == 0) delay(host, go, done, now() + 3200);
  for (int i = 0; i < 4; i++) join(threads[i]);
  CHECK_INT(waitpid(child, NULL, 0), child);
  leash_free(c);
}

/* Server: says much behind its odd answers, and makes $FOLDER/N when it has answered call N.
 * Nobody looks for the answer for as long as the call's limit: the thread that has just called
 * may call again. */
static void an_answer_in_time_counts_unread(char **server) {
  const int64_t limit = 8;
  char answered[4096];
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  for (int attempt = 1, counted = 0; counted < 3; attempt++) {
    CHECK(attempt < 1000);
    leash_event *e = NULL;
    CHECK_INT(leash_call(c, "x", NULL, 0, LONG, &e), 0);
    leash_event_free(e);
    int64_t begun = now();
    CHECK_INT(leash_submit(c, "x", NULL, 0, limit, 0, NULL), 0);
    snprintf(answered, sizeof answered, "%s/%d", getenv("FOLDER"), 2 * attempt);
    while (access(answered, F_OK) != 0) CHECK_INT(sched_yield(), 0);
    int is_in_time = now() < begun + limit;
    EVENTUALLY(leash_conn_int(c, LEASH_INT_PENDING) == 0);
    while (leash_event_kind(e = next(c)) != LEASH_EVENT_RESPONSE) leash_event_free(e);
    if (is_in_time) CHECK_INT(num(e, LEASH_INT_STATUS), 0);
    counted += is_in_time;
    leash_event_free(e);
  }
  leash_free(c);
}

static const struct scenario all[] = {
  SCENARIO(open_is_first_and_closed_is_last),
  SCENARIO(calls_before_open_are_held),
  SCENARIO(closed_without_open),
  SCENARIO(payloads_are_the_peers),
  SCENARIO(payloads_over_content_length),
  SCENARIO(every_protocol_can_call),
  SCENARIO(errors_have_code_message_and_data),
  SCENARIO(a_response_has_tag_call_and_seq),
  SCENARIO(waits_are_out_of_order),
  SCENARIO(a_response_that_came_before_can_be_taken),
  SCENARIO(one_thread_waits_for_a_call),
  SCENARIO(a_cancel_ends_another_threads_wait),
  SCENARIO(cancel_jsonrpc),
  SCENARIO(cancel_bare),
  SCENARIO(cancel_mcp),
  SCENARIO(cancel_acp),
  SCENARIO(cancel_lsp),
  SCENARIO(deadlines_end_calls),
  SCENARIO(deadlines_tell_the_peer),
  SCENARIO(notifications_are_sent_as_given),
  SCENARIO(corked_output_waits_for_a_flush),
  SCENARIO(a_wait_of_nothing_does_not_sleep),
  SCENARIO(who_runs_late_has_what_came_in_time),
  SCENARIO(who_runs_late_has_what_it_submitted),
  SCENARIO(who_follows_one_that_runs_late_has_it_too),
  SCENARIO(an_answer_in_time_counts_unread),
};
MAIN(all)
