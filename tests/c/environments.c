/* Connecting by name. A scenario gets the path of the environments.toml that
 * tests/environments.rs wrote, or no argument. */
#include "check.h"

#include <sys/stat.h>

/* A failure that tells nobody's secret. */
#define FAILS(call, code, wanted)                                                             \
  do {                                                                                        \
    CHECK_INT(call, code);                                                                    \
    CHECK_HAS(leash_last_error(), wanted);                                                    \
    CHECK(strstr(leash_last_error(), "hunter2") == NULL);                                     \
  } while (0)

static leash_conn *named(const char *path, const char *id, const leash_opts *opts,
                         int64_t timeout_ms) {
  leash_conn *c = NULL;
  CHECK_INT(leash_connect_env(path, id, opts, timeout_ms, &c), 0);
  CHECK(c != NULL);
  return c;
}

static int fails(const char *path, const char *id, const leash_opts *opts) {
  leash_conn *c = (leash_conn *)&c;
  int code = leash_connect_env(path, id, opts, LONG, &c);
  CHECK(c == NULL);
  return code;
}

static leash_opts *with_text(int key, const char *value) {
  leash_opts *opts = leash_opts_new();
  CHECK_INT(leash_opts_set_str(opts, key, value), 0);
  return opts;
}

static leash_opts *with_item(int key, const char *item) {
  leash_opts *opts = leash_opts_new();
  CHECK_INT(leash_opts_set_list(opts, key, &item, 1), 0);
  return opts;
}

static void echoes(leash_conn *c) {
  leash_event *e = call(c, "echo", "[1.50]");
  CHECK_TEXT(json(e), "[1.50]");
  leash_event_free(e);
  finish(c);
}

static void the_default_is_a_server(char **arg) { echoes(named(arg[0], NULL, NULL, -1)); }

static void a_server_by_its_name(char **arg) {
  echoes(named(arg[0], "demo", NULL, LONG));
  /* At once; OPEN follows. */
  leash_conn *c = named(arg[0], "demo", NULL, 0);
  SKIP(c, LEASH_EVENT_OPEN);
  echoes(c);
}

static void sees(const char *path, const leash_opts *opts, const char *wanted) {
  leash_conn *c = named(path, "seen", opts, LONG);
  SKIP(c, LEASH_EVENT_OPEN);
  expect(c, LEASH_EVENT_NOTIFY, LEASH_STR_JSON, wanted);
  finish(c);
}

static void env_and_cwd_are_the_files(char **arg) {
  sees(arg[0], NULL, "[\"hello\",\"sub\",\"\"]");
  leash_opts *opts = with_item(LEASH_OPT_ENV, "OTHER=more");
  sees(arg[0], opts, "[\"hello\",\"sub\",\"more\"]");
  leash_opts_free(opts);
}

static void cwd_is_relative_to_the_file(char **arg) {
  char folder[4096];
  CHECK(strlen(arg[0]) < sizeof folder);
  strcpy(folder, arg[0]);
  *strrchr(folder, '/') = '\0';
  CHECK_INT(chdir(folder), 0);
  sees("environments.toml", NULL, "[\"hello\",\"sub\",\"\"]");
  CHECK_INT(chdir("sub"), 0);
  sees("../environments.toml", NULL, "[\"hello\",\"sub\",\"\"]");
}

static void opts_give_the_rest(char **arg) {
  leash_opts *opts = with_text(LEASH_OPT_CWD, "/");
  CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_PROTOCOL, LEASH_PROTOCOL_BARE), 0);
  leash_conn *c = named(arg[0], "where", opts, LONG);
  SKIP(c, LEASH_EVENT_OPEN);
  expect(c, LEASH_EVENT_NOTIFY, LEASH_STR_JSON, "[\"/\"]");
  finish(c);
  leash_opts_free(opts);
}

static void opts_may_not_give_the_same(char **arg) {
  static const struct {
    int key;
    const char *value;
    const char *id;
    const char *text;
  } all[] = {
    { LEASH_OPT_CWD, "/", "seen", "environment \"seen\" has a cwd: LEASH_OPT_CWD gives another" },
    { LEASH_OPT_ENV, "GREETING=hunter2", "seen",
      "environment \"seen\" has an env: LEASH_OPT_ENV gives one of its variables, too" },
    { LEASH_OPT_ENV, "GREETING", "seen",
      "environment \"seen\" has an env: LEASH_OPT_ENV gives one of its variables, too" },
    { LEASH_OPT_URL, "ws://hunter2", "demo",
      "environment \"demo\" starts a program: LEASH_OPT_URL is for a WebSocket" },
    { LEASH_OPT_BEARER, "hunter2", "demo",
      "environment \"demo\" starts a program: LEASH_OPT_BEARER is for a WebSocket" },
    { LEASH_OPT_HEADERS, "X: hunter2", "demo",
      "environment \"demo\" starts a program: LEASH_OPT_HEADERS is for a WebSocket" },
    { LEASH_OPT_URL, "ws://hunter2", "away",
      "environment \"away\" has a url: LEASH_OPT_URL gives another" },
    { LEASH_OPT_CWD, "/", "away",
      "environment \"away\" has a url: LEASH_OPT_CWD is for a child process" },
    { LEASH_OPT_ENV, "A=hunter2", "away",
      "environment \"away\" has a url: LEASH_OPT_ENV is for a child process" },
  };
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    int is_list = all[i].key == LEASH_OPT_ENV || all[i].key == LEASH_OPT_HEADERS;
    leash_opts *opts = is_list ? with_item(all[i].key, all[i].value)
                               : with_text(all[i].key, all[i].value);
    FAILS(fails(arg[0], all[i].id, opts), LEASH_E_INVALID, all[i].text);
    CHECK_TEXT(leash_last_error(), all[i].text);
    leash_opts_free(opts);
  }
  leash_opts *opts = with(LEASH_OPT_ENV_CLEAR, 1);
  FAILS(fails(arg[0], "away", opts), LEASH_E_INVALID, "LEASH_OPT_ENV_CLEAR is for a child");
  leash_opts_free(opts);
}

static void what_cannot_be_connected_to_is_told(char **arg) {
  const char *path = arg[0];
  FAILS(fails(path, "other", NULL), LEASH_E_INVALID,
        " has no environment \"other\"; it has \"demo\", \"seen\", ");
  FAILS(fails(path, "DEMO", NULL), LEASH_E_INVALID, "no environment \"DEMO\"");
  FAILS(fails(path, "", NULL), LEASH_E_INVALID, "no environment of this name");
  FAILS(fails(path, "hunter2 hunter2", NULL), LEASH_E_INVALID, "no environment of this name");
  FAILS(fails(path, "none", NULL), LEASH_E_INVALID, "no environment \"none\"");
  FAILS(fails(path, "local", NULL), LEASH_E_UNSUPPORTED, "\"local\" is this machine");
  CHECK_INT(leash_last_os_error(), 0);
  FAILS(fails(path, "\xff", NULL), LEASH_E_INVALID, "id is not UTF-8");
  FAILS(fails(path, "missing", NULL), LEASH_E_CONNECT, "cannot start \"server\": No such file");
  CHECK_INT(leash_last_os_error(), ENOENT);
  FAILS(fails(path, "nowhere", NULL), LEASH_E_CONNECT, "No such file or directory");
  CHECK_FAILS(leash_connect_env(path, NULL, NULL, -1, NULL), LEASH_E_INVALID);
  leash_conn *c = (leash_conn *)&c;
  FAILS(leash_connect_env(path, NULL, NULL, -2, &c), LEASH_E_INVALID, "timeout_ms");
  CHECK(c == NULL);
}

/* A build without WebSocket knows no url; one with it finds nobody there. */
static void a_url_is_dialled(char **arg) {
  int64_t began = now();
  leash_conn *c = (leash_conn *)&c;
  int code = leash_connect_env(arg[0], "away", NULL, -1, &c);
  CHECK(code == LEASH_E_UNSUPPORTED || code == LEASH_E_CONNECT || code == LEASH_E_TIMEOUT);
  CHECK(c == NULL && strstr(leash_last_error(), "hunter2") == NULL);
  CHECK(now() - began < 5000);
}

static void the_default_may_be_nobody(char **arg) {
  FAILS(fails(arg[0], NULL, NULL), LEASH_E_INVALID, "the default is \"none\": name another");
  FAILS(fails(arg[1], NULL, NULL), LEASH_E_INVALID, "has no default environment: name one");
  FAILS(fails(arg[1], "local", NULL), LEASH_E_INVALID, "no environment \"local\"; it has none");
  FAILS(fails(arg[2], NULL, NULL), LEASH_E_UNSUPPORTED, "\"local\" is this machine");
}

static void write_file(const char *path, const char *bytes, size_t n, size_t times) {
  FILE *f = fopen(path, "w");
  CHECK(f != NULL);
  while (times-- > 0) CHECK_INT(fwrite(bytes, 1, n, f), n);
  CHECK_INT(fclose(f), 0);
}

static void what_is_no_file_is_told(char **arg) {
  CHECK_INT(chdir(arg[0]), 0);
  size_t len;
  FAILS(leash_env_list("none.toml", NULL, 0, &len), LEASH_E_INVALID,
        "cannot read \"none.toml\": No such file or directory");
  CHECK_INT(leash_last_os_error(), ENOENT);
  FAILS(leash_env_list("", NULL, 0, &len), LEASH_E_INVALID, "cannot read \"\": No such file");
  FAILS(leash_env_list(".", NULL, 0, &len), LEASH_E_INVALID,
        "\".\" is not a regular file: Is a directory");
  CHECK_INT(leash_last_os_error(), EISDIR);
  CHECK_INT(mkfifo("fifo", 0600), 0);
  FAILS(leash_env_list("fifo", NULL, 0, &len), LEASH_E_INVALID,
        "\"fifo\" is not a regular file: Invalid argument");
  CHECK_INT(leash_last_os_error(), EINVAL);
  write_file("latin1", "# hunter2\n\xe4\n", 12, 1);
  FAILS(leash_env_list("latin1", NULL, 0, &len), LEASH_E_INVALID,
        "\"latin1\", line 2: not UTF-8: ");
  CHECK_INT(leash_last_os_error(), EILSEQ);
  write_file("full", "# hunter2 hunter\n#hunter2 hunter\n", 32, 1 << 15);
  CHECK_FAILS(leash_env_list("full", NULL, 0, &len), LEASH_E_TOO_BIG);
  write_file("large", "# hunter2 hunter\n#hunter2 hunter\n", 33, 1 << 15);
  FAILS(leash_env_list("large", NULL, 0, &len), LEASH_E_INVALID,
        "\"large\" is larger than 1 MiB: File too large");
  CHECK_INT(leash_last_os_error(), EFBIG);
  FAILS(leash_env_list("\xff", NULL, 0, &len), LEASH_E_INVALID, "path is not UTF-8");
  write_file("bad", "\n\nurl = \"hunter2\"\n", 18, 1);
  len = 99;
  FAILS(leash_env_list("bad", NULL, 0, &len), LEASH_E_INVALID,
        "\"bad\", line 3: unknown key \"url\"");
  CHECK_INT(leash_last_os_error(), 0);
  CHECK_INT(len, 0);
  if (geteuid() != 0) {
    CHECK_INT(chmod("bad", 0), 0);
    FAILS(fails("bad", NULL, NULL), LEASH_E_INVALID, "cannot read \"bad\": Permission denied");
    CHECK_INT(leash_last_os_error(), EACCES);
  }
}

#define LIST                                                                                  \
  "{\"default\":\"a\",\"environments\":["                                                     \
  "{\"id\":\"b\",\"kind\":\"url\",\"connect_timeout_sec\":2.5,\"initialize_timeout_sec\":10},"   \
  "{\"id\":\"a\",\"kind\":\"stdio\",\"connect_timeout_sec\":10,\"initialize_timeout_sec\":3}]}"

static void a_list_fills_the_buffer(char **arg) {
  char buf[1024];
  size_t len = 0;
  memset(buf, 'x', sizeof buf);
  CHECK_FAILS(leash_env_list(arg[0], NULL, 0, &len), LEASH_E_TOO_BIG);
  CHECK_INT(len, strlen(LIST));
  len = 0;
  CHECK_FAILS(leash_env_list(arg[0], buf, 0, &len), LEASH_E_TOO_BIG);
  CHECK_INT(len, strlen(LIST));
  CHECK_INT(buf[0], 'x');
  len = 0;
  CHECK_FAILS(leash_env_list(arg[0], buf, strlen(LIST), &len), LEASH_E_TOO_BIG);
  CHECK_INT(len, strlen(LIST));
  CHECK_TEXT(buf, "");
  CHECK_INT(buf[1], 'x');
  len = 0;
  CHECK_INT(leash_env_list(arg[0], buf, strlen(LIST) + 1, &len), 0);
  CHECK_INT(len, strlen(LIST));
  CHECK_TEXT(buf, LIST);
  CHECK_INT(buf[len + 1], 'x');
  CHECK_FAILS(leash_env_list(arg[0], NULL, 1, &len), LEASH_E_INVALID);
  CHECK_FAILS(leash_env_list(arg[0], buf, SIZE_MAX, &len), LEASH_E_INVALID);
  CHECK_FAILS(leash_env_list(arg[0], buf, sizeof buf, NULL), LEASH_E_INVALID);
}

#define VARIABLE "CODEX_EXEC_SERVER_URL"

static void lists(const char *wanted) {
  char buf[1024];
  size_t len;
  CHECK_INT(leash_env_list(NULL, buf, sizeof buf, &len), 0);
  CHECK_TEXT(buf, wanted);
}

static void without_a_file_there_is_a_variable(char **arg) {
  (void)arg;
  char buf[1024];
  size_t len;
  static const char *const unset[] = { NULL, "", " " };
  for (size_t i = 0; i < 3; i++) {
    CHECK_INT(unset[i] ? setenv(VARIABLE, unset[i], 1) : unsetenv(VARIABLE), 0);
    FAILS(fails(NULL, NULL, NULL), LEASH_E_INVALID,
          "no file was given, and CODEX_EXEC_SERVER_URL is not set: set it to ws://HOST:PORT, or "
          "give the path of an environments.toml");
    FAILS(leash_env_list(NULL, buf, sizeof buf, &len), LEASH_E_INVALID, "is not set");
  }
  CHECK_INT(setenv(VARIABLE, " NoNe", 1), 0);
  FAILS(fails(NULL, NULL, NULL), LEASH_E_INVALID,
        "CODEX_EXEC_SERVER_URL is \"none\": it disables the environment");
  FAILS(fails(NULL, "remote", NULL), LEASH_E_INVALID, "no environment \"remote\"; it has none");
  lists("{\"default\":null,\"environments\":[]}");
  CHECK_INT(setenv(VARIABLE, "http://hunter2", 1), 0);
  FAILS(fails(NULL, NULL, NULL), LEASH_E_INVALID,
        "CODEX_EXEC_SERVER_URL must begin with ws:// or wss://");
  CHECK_INT(setenv(VARIABLE, "ws://\xff", 1), 0);
  FAILS(fails(NULL, NULL, NULL), LEASH_E_INVALID, "CODEX_EXEC_SERVER_URL is not UTF-8");

  CHECK_INT(setenv(VARIABLE, " ws://127.0.0.1:9/hunter2 ", 1), 0);
  lists("{\"default\":\"remote\",\"environments\":[{\"id\":\"remote\",\"kind\":\"url\","
        "\"connect_timeout_sec\":10,\"initialize_timeout_sec\":10}]}");
  FAILS(fails(NULL, "local", NULL), LEASH_E_INVALID, "no environment \"local\"");
  FAILS(fails(NULL, "a", NULL), LEASH_E_INVALID, "no environment \"a\"; it has \"remote\"");
  static const char *const ids[] = { NULL, "remote" };
  for (size_t i = 0; i < 2; i++) {
    int code = fails(NULL, ids[i], NULL);
    CHECK(code == LEASH_E_UNSUPPORTED || code == LEASH_E_CONNECT);
    CHECK(strstr(leash_last_error(), "hunter2") == NULL);
  }
}

static const struct scenario all[] = {
  SCENARIO(the_default_is_a_server),
  SCENARIO(a_server_by_its_name),
  SCENARIO(env_and_cwd_are_the_files),
  SCENARIO(cwd_is_relative_to_the_file),
  SCENARIO(opts_give_the_rest),
  SCENARIO(opts_may_not_give_the_same),
  SCENARIO(what_cannot_be_connected_to_is_told),
  SCENARIO(a_url_is_dialled),
  SCENARIO(the_default_may_be_nobody),
  SCENARIO(what_is_no_file_is_told),
  SCENARIO(a_list_fills_the_buffer),
  SCENARIO(without_a_file_there_is_a_variable),
};

MAIN(all)
