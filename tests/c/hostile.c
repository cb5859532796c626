/* Servers that break off and misbehave: whatever they do, each call has one response, what
 * came is in order, the end has a reason, and it comes in time. */
#include "check.h"

/* ---- a server that ends after n bytes of good messages, for every n */

/* {"method":"m","params":[1000000]} and what is around it. */
#define BODY 33
#define FIRST 1000000

struct moment {
  leash_conn *c;
  int64_t bytes, id, told, noise;
  int opened, answered;
};

/* How many connections are there at a time. */
#define AT_ONCE 32

static void begin(struct moment *m, char **server, int64_t bytes, const leash_opts *opts) {
  char number[24];
  char *argv[8] = { NULL };
  memset(m, 0, sizeof *m);
  m->bytes = bytes;
  snprintf(number, sizeof number, "%lld", (long long)bytes);
  for (int i = 0; server[i] && i < 7; i++) argv[i] = strcmp(server[i], "N") ? server[i] : number;
  const char *const *what = getenv("URL") ? NULL : (const char *const *)argv;
  CHECK_INT(leash_connect(what, opts, 0, &m->c), 0);
  /* Held until the connection is open; it may have ended by now. */
  int n = leash_submit(m->c, "x", NULL, 0, LONG, 0, &m->id);
  CHECK(n == 0 || n == LEASH_E_CLOSED);
  if (n) m->answered = 1;
}

/* What arrived of the messages, by what the server sent: only with pipes is that certain. */
static void exactly(const struct moment *m, int64_t size) {
  int64_t whole = m->bytes / size, rest = m->bytes % size;
  /* A line's last byte is its end; without it the message is whole all the same. */
  int is_whole = size == BODY + 1 && rest == BODY;
  CHECK_INT(m->told, whole + is_whole);
  CHECK(m->noise <= (rest > 0 && !is_whole));
}

static void finish_moment(struct moment *m, int64_t size, int is_certain) {
  leash_event *e = NULL;
  char wanted[40];
  for (;;) {
    int n = leash_poll(m->c, LONG, &e);
    CHECK_INT(n, 1);
    int kind = leash_event_kind(e);
    if (kind == LEASH_EVENT_CLOSED) break;
    switch (kind) {
    case LEASH_EVENT_OPEN: m->opened = 1; break;
    case LEASH_EVENT_NOTIFY:
      snprintf(wanted, sizeof wanted, "[%lld]", (long long)(FIRST + m->told++));
      CHECK_TEXT(json(e), wanted);
      break;
    case LEASH_EVENT_NOISE: m->noise++; break;
    case LEASH_EVENT_RESPONSE:
      CHECK_INT(num(e, LEASH_INT_CALL), m->id);
      CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_CLOSED);
      CHECK_INT(m->answered++, 0);
      break;
    default: CHECK_INT(kind, LEASH_EVENT_STDERR);
    }
    leash_event_free(e);
  }
  CHECK_INT(m->answered, 1);
  int64_t status = num(e, LEASH_INT_STATUS);
  CHECK(status == LEASH_E_CLOSED || status == LEASH_E_CONNECT || status == LEASH_E_PROTOCOL);
  CHECK(text(e) && text(e)[0]);
  CHECK(num(e, LEASH_INT_LEFT) == 0 || getenv("URL"));
  leash_event_free(e);
  CHECK_INT(leash_poll(m->c, 0, &e), LEASH_E_CLOSED);
  if (is_certain) exactly(m, size);
  leash_free(m->c);
}

static void each_moment(char **server) {
  static struct moment moments[AT_ONCE];
  int64_t step = atoll(getenv("STEP")), size = atoll(getenv("SIZE")), n = 0, begun = 0, told = 0;
  const char *url = getenv("URL");
  leash_opts *opts = with(LEASH_OPT_PROTOCOL, size == BODY + 1 || url ? LEASH_PROTOCOL_JSONRPC : LEASH_PROTOCOL_LSP);
  if (url) CHECK_INT(leash_opts_set_str(opts, LEASH_OPT_URL, url), 0);
  for (int64_t bytes = 0; bytes <= 4096; bytes += bytes < 256 ? 1 : step) {
    struct moment *m = &moments[n++ % AT_ONCE];
    if (begun >= AT_ONCE) {
      finish_moment(m, size, !url);
      told += m->told;
    }
    begin(m, server, bytes, opts);
    begun++;
  }
  for (int64_t i = 0; i < begun && i < AT_ONCE; i++) {
    struct moment *m = &moments[(n + i) % AT_ONCE];
    if (!m->c) continue;
    finish_moment(m, size, !url);
    told += m->told;
  }
  leash_opts_free(opts);
  printf("%lld connections, %lld whole messages\n", (long long)begun, (long long)told);
}

/* ---- a server with a script of misbehaviours */

/* In what a host keeps secret: environment, headers, URL and params. */
#define TOKEN "hunter2"

static void quiet(const char *text) {
  if (text && strstr(text, TOKEN)) failed(__FILE__, __LINE__, text);
}

/* Nor does a text of the library's say it. NOISE and STDERR are the peer's own words. */
static int told(int code) {
  if (code < 0) {
    CHECK(leash_last_error()[0] != '\0');
    quiet(leash_last_error());
  }
  return code;
}

static void plant(leash_opts *opts, const char *url) {
  static const char *const env[] = { "SECRET=" TOKEN }, *const headers[] = { "X-Key: " TOKEN };
  char place[200];
  if (!url) {
    CHECK_INT(leash_opts_set_list(opts, LEASH_OPT_ENV, env, 1), 0);
    return;
  }
  snprintf(place, sizeof place, "%s/" TOKEN "?key=" TOKEN, url);
  CHECK_INT(leash_opts_set_str(opts, LEASH_OPT_URL, place), 0);
  CHECK_INT(leash_opts_set_str(opts, LEASH_OPT_BEARER, TOKEN), 0);
  CHECK_INT(leash_opts_set_list(opts, LEASH_OPT_HEADERS, headers, 1), 0);
}

/* Whether it is a response. */
static int is_response(leash_event *e, int64_t *seq) {
  int kind = leash_event_kind(e);
  if (kind == LEASH_EVENT_RESPONSE || kind == LEASH_EVENT_CLOSED) quiet(text(e));
  CHECK(num(e, LEASH_INT_SEQ) > *seq);
  *seq = num(e, LEASH_INT_SEQ);
  if (kind == LEASH_EVENT_CLOSED) {
    printf("status %lld: %s\n", (long long)num(e, LEASH_INT_STATUS), text(e));
    CHECK(num(e, LEASH_INT_LEFT) == 0 || getenv("URL"));
  }
  leash_event_free(e);
  return kind == LEASH_EVENT_RESPONSE;
}

/* Every kind of call in a short time, then the end. What each gives is the server's affair;
 * that it gives one thing, and soon, is ours. */
static void whatever_it_does(char **server) {
  leash_opts *opts = with(LEASH_OPT_EXIT_AFTER, 100);
  CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_KILL_AFTER, 100), 0);
  CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_MAX_MESSAGE, 100000), 0);
  CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_QUEUE_EVENTS, 50), 0);
  if (getenv("LSP")) CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_PROTOCOL, LEASH_PROTOCOL_LSP), 0);
  const char *url = getenv("URL");
  plant(opts, url);
  leash_conn *c = NULL;
  leash_event *e = NULL;
  int64_t began = now(), submitted = 0, answered = 0, seq = 0, id;
  /* Some never answer, which a second shows. */
  int64_t limit = getenv("OPENS") ? LONG : 1000;
  int n = told(leash_connect(url ? NULL : (const char *const *)server, opts, limit, &c));
  leash_opts_free(opts);
  if (n != 0) {
    CHECK(n == LEASH_E_CONNECT || n == LEASH_E_TIMEOUT);
    return;
  }
  for (int i = 0; i < 20; i++) {
    submitted += told(leash_submit(c, "x", "[\"" TOKEN "\"]", LEASH_NUL, i % 2 ? 200 : -1, i, &id)) == 0;
    told(leash_notify(c, "y", i % 2 ? "[\"" TOKEN "\"]" : "[\"" TOKEN "\"", LEASH_NUL));
    if (leash_poll(c, 1, &e) == 1) answered += is_response(e, &seq);
  }
  /* Where the server ends the connection, this sees it. */
  n = told(leash_call(c, "x", "[\"" TOKEN "\"]", LEASH_NUL, getenv("ENDS") ? LONG : 100, &e));
  CHECK(n == 0 || n == LEASH_E_TIMEOUT || n == LEASH_E_CLOSED || n == LEASH_E_RPC || n == LEASH_E_FULL);
  leash_event_free(e);
  CHECK_INT(leash_close(c, LONG), 0);
  for (;;) {
    n = told(leash_poll(c, LONG, &e));
    if (n == LEASH_E_CLOSED) break;
    CHECK_INT(n, 1);
    answered += is_response(e, &seq);
  }
  CHECK_INT(answered, submitted);
  leash_free(c);
  CHECK(now() - began < LONG);
}

static const struct scenario all[] = {
  SCENARIO(each_moment),
  SCENARIO(whatever_it_does),
};
MAIN(all)
