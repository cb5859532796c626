/* What a host may get wrong: each has its code and a text, and nothing crashes. */
#include "check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define BAD LEASH_E_INVALID

/* Of the nearest failure: its text names this. */
static void says(const char *part) { CHECK_HAS(leash_last_error(), part); }

static void null_is_refused_everywhere(char **server) {
  const char *const *argv = (const char *const *)server;
  leash_conn *c = NULL, *none = (leash_conn *)&none;
  leash_event *e = (leash_event *)&e;
  leash_opts *opts = leash_opts_new();
  CHECK_TEXT(leash_last_error(), "");
  CHECK_INT(leash_last_os_error(), 0);
  CHECK(leash_version(NULL, NULL) != NULL);

  CHECK_FAILS(leash_connect(argv, NULL, LONG, NULL), BAD);
  says("out");
  CHECK_FAILS(leash_connect(NULL, NULL, LONG, &none), BAD);
  CHECK(none == NULL);
  says("argv");
  none = (leash_conn *)&none;
  CHECK_FAILS(leash_connect(NULL, opts, LONG, &none), BAD);
  CHECK(none == NULL);
  none = (leash_conn *)&none;
  CHECK_FAILS(leash_connect_env("", NULL, NULL, LONG, &none), BAD);
  CHECK(none == NULL);
  CHECK_FAILS(leash_connect_env(NULL, NULL, NULL, LONG, NULL), BAD);
  size_t listed = 1;
  CHECK_FAILS(leash_env_list(NULL, NULL, 0, NULL), BAD);
  CHECK_FAILS(leash_env_list("", NULL, 1, &listed), BAD);
  CHECK_INT(listed, 0);

  CHECK_FAILS(leash_fd(NULL), BAD);
  CHECK_FAILS(leash_poll(NULL, 0, &e), BAD);
  CHECK(e == NULL);
  e = (leash_event *)&e;
  CHECK_INT(leash_wake(NULL), BAD);
  CHECK_FAILS(leash_submit(NULL, "x", NULL, 0, LONG, 0, NULL), BAD);
  CHECK_FAILS(leash_wait(NULL, 1, 0, &e), BAD);
  CHECK(e == NULL);
  e = (leash_event *)&e;
  CHECK_FAILS(leash_call(NULL, "x", NULL, 0, LONG, &e), BAD);
  CHECK(e == NULL);
  CHECK_FAILS(leash_cancel(NULL, 1), BAD);
  CHECK_FAILS(leash_notify(NULL, "x", NULL, 0), BAD);
  CHECK_FAILS(leash_flush(NULL), BAD);
  CHECK_FAILS(leash_close(NULL, 0), BAD);
  CHECK_INT(leash_conn_int(NULL, LEASH_INT_PID), LEASH_NONE);
  leash_free(NULL);

  CHECK_FAILS(leash_reply(NULL, NULL, 0), BAD);
  CHECK_FAILS(leash_reply_error(NULL, 0, "x", NULL, 0), BAD);
  CHECK_INT(leash_event_kind(NULL), 0);
  CHECK_INT(leash_event_int(NULL, LEASH_INT_SEQ), LEASH_NONE);
  size_t len = 99;
  CHECK(leash_event_str(NULL, LEASH_STR_JSON, &len) == NULL);
  CHECK_INT(len, 0);
  CHECK(leash_event_str(NULL, LEASH_STR_JSON, NULL) == NULL);
  leash_event_free(NULL);

  leash_opts_free(NULL);
  CHECK_FAILS(leash_opts_set_str(NULL, LEASH_OPT_CWD, "/"), BAD);
  CHECK_FAILS(leash_opts_set_int(NULL, LEASH_OPT_CORK, 1), BAD);
  CHECK_FAILS(leash_opts_set_list(NULL, LEASH_OPT_ENV, NULL, 0), BAD);
  CHECK_FAILS(leash_opts_set_list(opts, LEASH_OPT_ENV, NULL, 1), BAD);
  const char *const hole[] = { "A=1", NULL, "B=2" };
  CHECK_FAILS(leash_opts_set_list(opts, LEASH_OPT_ENV, hole, 3), BAD);
  CHECK_INT(leash_opts_set_list(opts, LEASH_OPT_ENV, NULL, 0), 0);
  CHECK_INT(leash_opts_set_str(opts, LEASH_OPT_CWD, NULL), 0);

  c = start(server, opts);
  CHECK_FAILS(leash_poll(c, 0, NULL), BAD);
  CHECK_FAILS(leash_wait(c, 1, 0, NULL), BAD);
  CHECK_FAILS(leash_call(c, "x", NULL, 0, LONG, NULL), BAD);
  CHECK_FAILS(leash_call(c, NULL, NULL, 0, LONG, &e), BAD);
  CHECK_FAILS(leash_submit(c, NULL, NULL, 0, LONG, 0, NULL), BAD);
  CHECK_FAILS(leash_submit(c, "x", NULL, 5, LONG, 0, NULL), BAD);
  CHECK_FAILS(leash_notify(c, NULL, NULL, 0), BAD);
  SKIP(c, LEASH_EVENT_OPEN);
  e = NEXT(c, LEASH_EVENT_REQUEST);
  CHECK_FAILS(leash_reply(e, NULL, 5), BAD);
  CHECK_FAILS(leash_reply_error(e, 1, NULL, NULL, 0), BAD);
  CHECK_FAILS(leash_reply_error(e, 1, "x", NULL, 5), BAD);
  CHECK_INT(leash_reply(e, NULL, LEASH_NUL), 0);
  leash_event_free(e);
  CHECK_INT(leash_conn_int(c, LEASH_INT_PENDING), 0);
  leash_opts_free(opts);
  finish(c);
}

static void cannot_start(const char *const *argv, const leash_opts *opts, int os, const char *part) {
  for (int i = 0; i < 2; i++) {
    leash_conn *c = (leash_conn *)&c;
    CHECK_FAILS(leash_connect(argv, opts, i ? -1 : LONG, &c), LEASH_E_CONNECT);
    CHECK(c == NULL);
    CHECK_INT(leash_last_os_error(), os);
    says(part);
    says(strerror(os));
  }
  /* At once: what went wrong is in the event. */
  leash_conn *c = NULL;
  CHECK_INT(leash_connect(argv, opts, 0, &c), 0);
  leash_event *e = closed(c);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_CONNECT);
  CHECK_INT(num(e, LEASH_INT_OS_ERROR), os);
  CHECK_HAS(text(e), strerror(os));
  leash_event_free(e);
  leash_free(c);
}

static void programs_that_cannot_start(char **server) {
  const char *folder = server[0];
  char path[500];
  leash_opts *opts = leash_opts_new();
  const char *argv[] = { path, "x", NULL };

  snprintf(path, sizeof path, "no-such-program-anywhere");
  cannot_start(argv, NULL, ENOENT, "\"no-such-program-anywhere\"");
  snprintf(path, sizeof path, "%s/missing", folder);
  cannot_start(argv, NULL, ENOENT, "\"missing\"");
  snprintf(path, sizeof path, "%s/plain", folder);
  int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  CHECK(fd >= 0);
  close(fd);
  cannot_start(argv, NULL, EACCES, "\"plain\"");
  snprintf(path, sizeof path, "%s/no-format", folder);
  fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
  CHECK(fd >= 0);
  CHECK_INT(write(fd, "echo no shell reads this\n", 25), 25);
  close(fd);
  cannot_start(argv, NULL, ENOEXEC, "\"no-format\"");
  snprintf(path, sizeof path, "%s", folder);
  cannot_start(argv, NULL, EACCES, "cannot start");

  snprintf(path, sizeof path, "cat");
  CHECK_INT(leash_opts_set_str(opts, LEASH_OPT_CWD, "/nonexistent/folder"), 0);
  cannot_start(argv, opts, ENOENT, "cat");
  snprintf(path, sizeof path, "%s/plain", folder);
  CHECK_INT(leash_opts_set_str(opts, LEASH_OPT_CWD, path), 0);
  snprintf(path, sizeof path, "cat");
  cannot_start(argv, opts, ENOTDIR, "cat");
  CHECK_INT(leash_opts_set_str(opts, LEASH_OPT_CWD, NULL), 0);

  /* The PATH that counts is the child's. */
  const char *const no_path[] = { "PATH=/nonexistent" };
  CHECK_INT(leash_opts_set_list(opts, LEASH_OPT_ENV, no_path, 1), 0);
  cannot_start(argv, opts, ENOENT, "\"cat\"");
  leash_opts_free(opts);

  const char *const empty[] = { NULL };
  const char *const nameless[] = { "", NULL };
  const char *const bad_utf8[] = { "cat", "\xff", NULL };
  const char *const *const wrong[] = { empty, nameless, bad_utf8 };
  for (int i = 0; i < 3; i++) {
    leash_conn *c = (leash_conn *)&c;
    CHECK_FAILS(leash_connect(wrong[i], NULL, LONG, &c), BAD);
    CHECK(c == NULL);
    says("argv");
  }
  const char *const good[] = { "cat", NULL };
  leash_conn *c = (leash_conn *)&c;
  CHECK_FAILS(leash_connect(good, NULL, -2, &c), BAD);
  CHECK(c == NULL);
  says("timeout_ms");
  c = (leash_conn *)&c;
  CHECK_FAILS(leash_connect(good, NULL, INT64_MIN, &c), BAD);
  CHECK(c == NULL);
}

/* Where a program is looked for: PATH and CWD are the child's. */
static void cwd_and_path_are_the_childs(char **server) {
  char path[500], old[500];
  snprintf(path, sizeof path, "%s/bin", server[0]);
  CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
  snprintf(path, sizeof path, "%s/bin/here", server[0]);
  int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
  CHECK(fd >= 0);
  const char script[] = "#!/bin/sh\npwd >&2\necho \"[$A][$B][$HOME]\" >&2\nexec /bin/cat\n";
  CHECK_INT(write(fd, script, sizeof script - 1), sizeof script - 1);
  close(fd);
  CHECK(getcwd(old, sizeof old) != NULL);
  const char *const programs[] = { "here", "./bin/here", "bin/here" };
  for (int i = 0; i < 3; i++) {
    leash_opts *opts = with(LEASH_OPT_ENV_CLEAR, i == 1);
    const char *const env[] = { "PATH=/nonexistent:bin", "A=x=y z", "B", "HOME" };
    CHECK_INT(leash_opts_set_str(opts, LEASH_OPT_CWD, server[0]), 0);
    CHECK_INT(leash_opts_set_list(opts, LEASH_OPT_ENV, env, 4), 0);
    char *argv[] = { (char *)programs[i], NULL };
    leash_conn *c = start(argv, opts);
    leash_opts_free(opts);
    SKIP(c, LEASH_EVENT_OPEN);
    expect_stderr(c, server[0]);
    expect_stderr(c, "[x=y z][][]");
    finish(c);
  }
  char now[500];
  CHECK(getcwd(now, sizeof now) != NULL);
  CHECK_TEXT(now, old);
}

struct json {
  const char *text;
  size_t len;
};

/* Nothing of it reaches the server, which would answer. */
static void params_must_be_an_array_or_object(char **server) {
  static const struct json wrong[] = {
    { "", LEASH_NUL }, { "", 0 }, { "x", LEASH_NUL }, { "1", LEASH_NUL }, { "null", LEASH_NUL },
    { "\"x\"", LEASH_NUL }, { "true", LEASH_NUL }, { "{", LEASH_NUL }, { "[1,]", LEASH_NUL },
    { "{\"a\":1,}", LEASH_NUL }, { "[1] [2]", LEASH_NUL }, { "{\"a\":01}", LEASH_NUL },
    { "{a:1}", LEASH_NUL }, { "['a']", LEASH_NUL }, { "[\"\xff\"]", LEASH_NUL },
    { "[\"\n\"]", LEASH_NUL }, { "[\"\\x\"]", LEASH_NUL }, { "[NaN]", LEASH_NUL },
    { "[1]\0", 4 }, { "[\"\0\"]", 5 }, { "\0", 1 }, { "[1", LEASH_NUL }, { "[1]", 2 },
    { "\xef\xbb\xbf[]", LEASH_NUL }, { "[]", SIZE_MAX - 1 }, { "[]", (size_t)INT64_MAX + 1 }
  };
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    leash_event *e = (leash_event *)&e;
    int64_t id = 77;
    CHECK_FAILS(leash_call(c, "x", wrong[i].text, wrong[i].len, LONG, &e), BAD);
    CHECK(e == NULL);
    says("params");
    CHECK_FAILS(leash_submit(c, "x", wrong[i].text, wrong[i].len, LONG, 0, &id), BAD);
    CHECK_INT(id, 77);
    CHECK_FAILS(leash_notify(c, "x", wrong[i].text, wrong[i].len), BAD);
  }
  CHECK_FAILS(leash_notify(c, "\xc3", NULL, 0), BAD);
  says("method");
  static const int64_t times[] = { 0, -2, INT64_MIN };
  for (int i = 0; i < 3; i++) {
    leash_event *e = (leash_event *)&e;
    CHECK_FAILS(leash_submit(c, "x", NULL, 0, times[i], 0, NULL), BAD);
    says("timeout_ms");
    CHECK_FAILS(leash_call(c, "x", NULL, 0, times[i], &e), BAD);
    CHECK(e == NULL);
    if (times[i] == 0) continue;
    CHECK_FAILS(leash_poll(c, times[i], &e), BAD);
    CHECK_FAILS(leash_wait(c, 1, times[i], &e), BAD);
    CHECK_FAILS(leash_close(c, times[i]), BAD);
  }
  /* A limit beyond all time is none. */
  leash_event *e = NULL;
  CHECK_INT(leash_call(c, "x", "[ ]", LEASH_NUL, INT64_MAX, &e), 0);
  CHECK_INT(num(e, LEASH_INT_CALL), 1);
  leash_event_free(e);
  CHECK_INT(leash_conn_int(c, 0), LEASH_NONE);
  CHECK_INT(leash_conn_int(c, LEASH_INT_SEQ), LEASH_NONE);
  expect_nothing(c);
  finish(c);
}

static void deep_nesting_is_no_crash(char **server) {
  enum { DEPTH = 1000000 };
  char *deep = (char *)malloc(DEPTH + 1);
  memset(deep, '[', DEPTH);
  deep[DEPTH] = '\0';
  leash_conn *c = start(server, NULL);
  CHECK_FAILS(leash_notify(c, "x", deep, LEASH_NUL), BAD);
  memset(deep + DEPTH / 2, ']', DEPTH / 2);
  int n = leash_notify(c, "x", deep, LEASH_NUL);
  CHECK(n == 0 || n == BAD);
  free(deep);
  leash_event_free(call(c, "x", NULL));
  finish(c);
}

static void options_out_of_range(char **server) {
  struct {
    int key;
    int64_t value;
  } const wrong[] = {
    { LEASH_OPT_PROTOCOL, -1 }, { LEASH_OPT_PROTOCOL, 5 }, { LEASH_OPT_ENV_CLEAR, 2 },
    { LEASH_OPT_ENV_CLEAR, -1 }, { LEASH_OPT_STDERR, 3 }, { LEASH_OPT_STDERR, -1 },
    { LEASH_OPT_MAX_MESSAGE, 0 }, { LEASH_OPT_MAX_MESSAGE, -1 }, { LEASH_OPT_MAX_MESSAGE, INT64_MAX },
    { LEASH_OPT_QUEUE_EVENTS, 0 }, { LEASH_OPT_QUEUE_BYTES, -1 }, { LEASH_OPT_SEND_BYTES, INT64_MIN },
    { LEASH_OPT_EXIT_AFTER, -1 }, { LEASH_OPT_KILL_AFTER, INT64_MAX }, { LEASH_OPT_PING_EVERY, -5 },
    { LEASH_OPT_CORK, 2 }
  };
  leash_opts *opts = leash_opts_new();
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    CHECK_FAILS(leash_opts_set_int(opts, wrong[i].key, wrong[i].value), BAD);
  const char *const list[] = { "A=1" };
  static const int unknown[] = { 0, -1, 7, 19, 22, 39, 51, 1000, INT32_MAX, INT32_MIN };
  for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
    CHECK_FAILS(leash_opts_set_int(opts, unknown[i], 1), LEASH_E_UNSUPPORTED);
    CHECK_FAILS(leash_opts_set_str(opts, unknown[i], "x"), LEASH_E_UNSUPPORTED);
    CHECK_FAILS(leash_opts_set_list(opts, unknown[i], list, 1), LEASH_E_UNSUPPORTED);
  }
  /* The wrong setter. */
  for (int key = 1; key <= 50; key++) {
    if ((key > 6 && key < 20) || (key > 21 && key < 40)) continue;
    if (key > 6) CHECK_FAILS(leash_opts_set_str(opts, key, "1"), BAD);
    if (key < 20 || key > 21) CHECK_FAILS(leash_opts_set_list(opts, key, list, 1), BAD);
    if (key < 40) CHECK_FAILS(leash_opts_set_int(opts, key, 1), BAD);
  }
  CHECK_FAILS(leash_opts_set_str(opts, LEASH_OPT_CWD, "\xff"), BAD);
  static const char *const variables[] = { "", "=x", "A=\xff" };
  for (int i = 0; i < 3; i++)
    CHECK_FAILS(leash_opts_set_list(opts, LEASH_OPT_ENV, &variables[i], 1), BAD);
  static const char *const headers[] = { "", "no colon", ": x", "A: b\r\nC: d", "a b: c" };
  for (int i = 0; i < 5; i++)
    CHECK_FAILS(leash_opts_set_list(opts, LEASH_OPT_HEADERS, &headers[i], 1), BAD);
  CHECK_FAILS(leash_opts_set_str(opts, LEASH_OPT_BEARER, "two words"), BAD);
  /* None of that has changed anything. */
  leash_conn *c = start(server, opts);
  SKIP(c, LEASH_EVENT_OPEN);
  leash_event_free(call(c, "x", NULL));
  finish(c);
  leash_opts_free(opts);
}

/* A secret that would be ignored is a mistake worth telling. */
static void options_that_do_not_fit(char **server) {
  static const int texts[] = { LEASH_OPT_BEARER, LEASH_OPT_CA_FILE, LEASH_OPT_CERT_FILE,
                               LEASH_OPT_KEY_FILE, LEASH_OPT_URL };
  leash_conn *c = (leash_conn *)&c;
  for (int i = 0; i < 5; i++) {
    leash_opts *opts = leash_opts_new();
    CHECK_INT(leash_opts_set_str(opts, texts[i], "ws://127.0.0.1:1"), 0);
    CHECK_FAILS(leash_connect((const char *const *)server, opts, LONG, &c), BAD);
    CHECK(c == NULL);
    CHECK_INT(leash_opts_set_str(opts, texts[i], NULL), 0);
    c = start(server, opts);
    leash_opts_free(opts);
    finish(c);
  }
}

static void after_close_all_is_over(char **server) {
  leash_conn *c = start(server, NULL);
  int64_t id = submit(c, "x", NULL, 3);
  CHECK_INT(leash_close(c, LONG), 0);
  CHECK_INT(leash_close(c, 0), 0);
  CHECK_INT(leash_close(c, -1), 0);
  leash_event *e = (leash_event *)&e;
  CHECK_FAILS(leash_call(c, "x", NULL, 0, LONG, &e), LEASH_E_CLOSED);
  CHECK(e == NULL);
  int64_t other = 77;
  CHECK_FAILS(leash_submit(c, "x", NULL, 0, LONG, 0, &other), LEASH_E_CLOSED);
  CHECK_INT(other, 77);
  CHECK_FAILS(leash_notify(c, "x", NULL, 0), LEASH_E_CLOSED);
  CHECK_FAILS(leash_flush(c), LEASH_E_CLOSED);
  CHECK_FAILS(leash_cancel(c, id), LEASH_E_STATE);
  CHECK(leash_fd(c) >= 0);
  CHECK_INT(leash_conn_int(c, LEASH_INT_PENDING), 0);
  CHECK_INT(leash_conn_int(c, LEASH_INT_QUEUED), 3);
  /* What is queued still comes. */
  CHECK_INT(leash_wait(c, id, 0, &e), 1);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_CLOSED);
  CHECK_INT(num(e, LEASH_INT_TAG), 3);
  leash_event_free(e);
  SKIP(c, LEASH_EVENT_OPEN);
  SKIP(c, LEASH_EVENT_CLOSED);
  CHECK_FAILS(leash_wait(c, id, 0, &e), LEASH_E_STATE);
  CHECK_FAILS(leash_poll(c, 0, &e), LEASH_E_CLOSED);
  leash_free(c);
}

/* ---- a host that closes what it does not know */

/* The library's copy of the guard, which all connections use. */
static int guards_file(void) {
  for (int fd = 3; fd < 1000; fd++) {
    char path[64], target[64] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (readlink(path, target, sizeof target - 1) > 0 && strstr(target, "leash-guard")) return fd;
  }
  return -1;
}

static void what_a_host_closed_is_not_executed(char **server) {
  leash_free(start(server, NULL));
  int fd = guards_file();
  CHECK(fd >= 0);
  /* Nobody can write to it. */
  CHECK(write(fd, "x", 1) < 0 && ftruncate(fd, 0) < 0);
  int mine = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  CHECK_INT(dup3(mine, fd, O_CLOEXEC), fd);
  for (int i = 0; i < 2; i++) {
    leash_conn *c = start(server, NULL);
    SKIP(c, LEASH_EVENT_OPEN);
    CHECK_INT(leash_close(c, LONG), 0);
    leash_free(c);
    CHECK(fcntl(fd, F_GETFD) >= 0);
    CHECK(guards_file() >= 0 && guards_file() != fd);
  }
  CHECK_INT(close(fd) | close(mine), 0);
}

/* ---- a forked copy */

static int descriptors(void) {
  /* Without ".", "..", and the folder itself. */
  return entries("/proc/self/fd") - 3;
}

#define FORKED LEASH_E_FORKED

static void in_the_child(char **server, leash_conn *c, leash_event *request, leash_opts *opts,
                         int fd, int before) {
  CHECK_INT(descriptors(), before);
  CHECK(fcntl(fd, F_GETFD) < 0);
  leash_conn *other = (leash_conn *)&other;
  leash_event *e = (leash_event *)&e;
  CHECK_FAILS(leash_connect((const char *const *)server, NULL, LONG, &other), FORKED);
  CHECK(other == NULL);
  other = (leash_conn *)&other;
  CHECK_FAILS(leash_connect_env(NULL, NULL, NULL, LONG, &other), FORKED);
  CHECK(other == NULL);
  size_t listed = 1;
  CHECK_FAILS(leash_env_list(NULL, NULL, 0, &listed), FORKED);
  CHECK_INT(listed, 0);
  CHECK_FAILS(leash_fd(c), FORKED);
  CHECK_FAILS(leash_poll(c, 0, &e), FORKED);
  CHECK(e == NULL);
  CHECK_INT(leash_wake(c), FORKED);
  CHECK_FAILS(leash_submit(c, "x", NULL, 0, LONG, 0, NULL), FORKED);
  e = (leash_event *)&e;
  CHECK_FAILS(leash_wait(c, 1, 0, &e), FORKED);
  CHECK(e == NULL);
  e = (leash_event *)&e;
  CHECK_FAILS(leash_call(c, "x", NULL, 0, LONG, &e), FORKED);
  CHECK(e == NULL);
  CHECK_FAILS(leash_cancel(c, 1), FORKED);
  CHECK_FAILS(leash_notify(c, "x", NULL, 0), FORKED);
  CHECK_FAILS(leash_flush(c), FORKED);
  CHECK_FAILS(leash_reply(request, NULL, 0), FORKED);
  CHECK_FAILS(leash_reply_error(request, 1, "x", NULL, 0), FORKED);
  CHECK_FAILS(leash_close(c, LONG), FORKED);
  CHECK_INT(leash_conn_int(c, LEASH_INT_PID), LEASH_NONE);
  CHECK_INT(leash_event_kind(request), 0);
  CHECK_INT(leash_event_int(request, LEASH_INT_SEQ), LEASH_NONE);
  size_t len = 99;
  CHECK(leash_event_str(request, LEASH_STR_METHOD, &len) == NULL);
  CHECK_INT(len, 0);
  CHECK(leash_opts_new() == NULL);
  CHECK_FAILS(leash_opts_set_int(opts, LEASH_OPT_CORK, 1), FORKED);
  CHECK_FAILS(leash_opts_set_str(opts, LEASH_OPT_CWD, "/"), FORKED);
  CHECK_FAILS(leash_opts_set_list(opts, LEASH_OPT_ENV, NULL, 0), FORKED);
  CHECK(leash_version(NULL, NULL) != NULL);
  /* The number may be somebody else's by now: it is not touched. */
  int mine = fcntl(1, F_DUPFD_CLOEXEC, fd);
  CHECK_INT(mine, fd);
  leash_event_free(request);
  leash_free(c);
  leash_opts_free(opts);
  CHECK(fcntl(mine, F_GETFD) >= 0);
  CHECK_INT(descriptors(), before + 1);
}

static void a_forked_copy_is_refused(char **server) {
  int before = descriptors();
  leash_opts *opts = leash_opts_new();
  leash_conn *c = start(server, opts);
  int fd = leash_fd(c);
  SKIP(c, LEASH_EVENT_OPEN);
  leash_event *request = NEXT(c, LEASH_EVENT_REQUEST);
  CHECK(descriptors() > before);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    in_the_child(server, c, request, opts, fd, before);
    /* Not _exit: what the thread and the process own is dropped there. */
    exit(0);
  }
  int status = -1;
  CHECK_INT(waitpid(child, &status, 0), child);
  CHECK_INT(status, 0);
  /* The parent does not notice. */
  CHECK_INT(leash_reply(request, "1", LEASH_NUL), 0);
  leash_event_free(request);
  expect(c, LEASH_EVENT_NOTIFY, LEASH_STR_JSON, "{\"result\":1}");
  leash_event *e = call(c, "echo", "[1]");
  CHECK_TEXT(json(e), "[1]");
  leash_event_free(e);
  leash_opts_free(opts);
  finish(c);
}

/* A copy that lives on keeps no server alive, and the host is not told of its own children. */
static void a_forked_copy_keeps_nothing_open(char **server) {
  leash_conn *c = start(server, NULL);
  int hold[2];
  CHECK_INT(pipe(hold), 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    char byte;
    close(hold[1]);
    while (read(hold[0], &byte, 1) > 0) {}
    _exit(7);
  }
  finish(c);
  close(hold[0]);
  close(hold[1]);
  int status = -1;
  CHECK_INT(waitpid(-1, &status, 0), child);
  CHECK_INT(WEXITSTATUS(status), 7);
  CHECK_INT(waitpid(-1, &status, 0), -1);
  CHECK_INT(errno, ECHILD);
}

static void count_descriptors(char **server) {
  (void)server;
  exit(descriptors());
}

/* How many descriptors a program has that the host runs. */
static int inherited(void) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    execl("/proc/self/exe", "input", "count_descriptors", (char *)NULL);
    _exit(255);
  }
  int status = -1;
  CHECK_INT(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  return WEXITSTATUS(status);
}

/* A program that the host runs inherits nothing of ours. */
static void an_exec_inherits_nothing(char **server) {
  int before = inherited();
  CHECK(before < 255);
  leash_conn *c = start(server, NULL);
  CHECK(leash_fd(c) >= 0);
  leash_event_free(call(c, "x", NULL));
  CHECK_INT(inherited(), before);
  finish(c);
}

/* ---- secrets */

static void no_secret(const char *text) {
  CHECK(text != NULL);
  if (strstr(text, "hunter2")) failed(__FILE__, __LINE__, text);
}

static void errors_tell_no_secret(char **server) {
  leash_opts *opts = leash_opts_new();
  const char *const env[] = { "TOKEN=hunter2", "hunter2=1" };
  CHECK_INT(leash_opts_set_list(opts, LEASH_OPT_ENV, env, 2), 0);
  const char *const missing[] = { "/nonexistent/hunter2/server", "--token=hunter2", NULL };
  leash_conn *c = NULL;
  CHECK_FAILS(leash_connect(missing, opts, LONG, &c), LEASH_E_CONNECT);
  no_secret(leash_last_error());
  says("\"server\"");
  const char *const bad[] = { "cat", "hunter2\xff", NULL };
  CHECK_FAILS(leash_connect(bad, opts, LONG, &c), BAD);
  no_secret(leash_last_error());
  const char *const bad_env[] = { "TOKEN=hunter2\xff" }, *const no_name[] = { "=hunter2" };
  CHECK_FAILS(leash_opts_set_list(opts, LEASH_OPT_ENV, bad_env, 1), BAD);
  no_secret(leash_last_error());
  CHECK_FAILS(leash_opts_set_list(opts, LEASH_OPT_ENV, no_name, 1), BAD);
  no_secret(leash_last_error());
  const char *const header[] = { "hunter2" };
  CHECK_FAILS(leash_opts_set_list(opts, LEASH_OPT_HEADERS, header, 1), BAD);
  no_secret(leash_last_error());
  CHECK_FAILS(leash_opts_set_str(opts, LEASH_OPT_BEARER, "hunter2 x"), BAD);
  no_secret(leash_last_error());
  CHECK_INT(leash_opts_set_str(opts, LEASH_OPT_CWD, "/nonexistent/hunter2"), 0);
  CHECK_FAILS(leash_connect((const char *const *)server, opts, LONG, &c), LEASH_E_CONNECT);
  no_secret(leash_last_error());
  CHECK_INT(leash_opts_set_str(opts, LEASH_OPT_CWD, NULL), 0);

  /* The server has the secret among its arguments, and exits with status 3. */
  c = start(server, opts);
  CHECK_FAILS(leash_notify(c, "hunter2", "[\"hunter2\"", LEASH_NUL), BAD);
  no_secret(leash_last_error());
  leash_event *e = NULL;
  CHECK_FAILS(leash_call(c, "hunter2", "[\"hunter2\"]", LEASH_NUL, LONG, &e), LEASH_E_CLOSED);
  no_secret(leash_last_error());
  CHECK_FAILS(leash_notify(c, "hunter2", NULL, 0), LEASH_E_CLOSED);
  no_secret(leash_last_error());
  e = closed(c);
  no_secret(text(e));
  CHECK_INT(num(e, LEASH_INT_EXIT_CODE), 3);
  leash_event_free(e);
  leash_free(c);
  leash_opts_free(opts);
}

static const struct scenario all[] = {
  SCENARIO(null_is_refused_everywhere),
  SCENARIO(programs_that_cannot_start),
  SCENARIO(cwd_and_path_are_the_childs),
  SCENARIO(params_must_be_an_array_or_object),
  SCENARIO(deep_nesting_is_no_crash),
  SCENARIO(options_out_of_range),
  SCENARIO(options_that_do_not_fit),
  SCENARIO(after_close_all_is_over),
  SCENARIO(what_a_host_closed_is_not_executed),
  SCENARIO(a_forked_copy_is_refused),
  SCENARIO(a_forked_copy_keeps_nothing_open),
  SCENARIO(count_descriptors),
  SCENARIO(an_exec_inherits_nothing),
  SCENARIO(errors_tell_no_secret),
};
MAIN(all)
