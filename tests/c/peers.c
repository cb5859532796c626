/* Real servers. */
#include "check.h"

#define THREADS 64
#define CALLS 1000

/* deltachat-rpc-server answers out of order, and asks nothing. */
static void a_thousand_calls_from_one_thread(char **server) {
  leash_conn *c = start(server, NULL);
  static int64_t ids[CALLS];
  static char answered[CALLS];
  for (int i = 0; i < CALLS; i++) {
    char params[60];
    snprintf(params, sizeof params, "[\"key-%d\",null]", i);
    /* What a call returns must tell which one it was: an unknown method names itself. */
    char method[30];
    snprintf(method, sizeof method, "no_such_method_%d", i);
    ids[i] = submit(c, i % 2 ? method : "sleep", i % 2 ? params : "[0.01]", i);
  }
  int n = 0;
  while (n < CALLS) {
    leash_event *e = next(c);
    if (leash_event_kind(e) == LEASH_EVENT_RESPONSE) {
      int64_t tag = num(e, LEASH_INT_TAG);
      CHECK(tag >= 0 && tag < CALLS);
      CHECK_INT(num(e, LEASH_INT_CALL), ids[tag]);
      CHECK_INT(answered[tag]++, 0);
      CHECK_INT(num(e, LEASH_INT_STATUS), tag % 2 ? LEASH_E_RPC : 0);
      n++;
    }
    leash_event_free(e);
  }
  CHECK_INT(leash_conn_int(c, LEASH_INT_PENDING), 0);
  finish(c);
}

static void *call_often(void *arg) {
  leash_conn *c = (leash_conn *)arg;
  for (int i = 0; i < 20; i++) {
    leash_event *e = call(c, i % 2 ? "sleep" : "get_all_account_ids", i % 2 ? "[0.01]" : "[]");
    CHECK_TEXT(json(e), i % 2 ? "null" : "[]");
    leash_event_free(e);
  }
  return NULL;
}

static void sixty_four_threads(char **server) {
  leash_conn *c = start(server, NULL);
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) threads[i] = thread(call_often, c);
  for (int i = 0; i < THREADS; i++) join(threads[i]);
  CHECK_INT(leash_conn_int(c, LEASH_INT_PENDING), 0);
  finish(c);
}

/* server-everything asks for the roots, with id 0. */
static void roots_are_listed(char **server) {
  leash_opts *opts = with(LEASH_OPT_PROTOCOL, LEASH_PROTOCOL_MCP);
  CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_EXIT_AFTER, 200), 0);
  leash_conn *c = start(server, opts);
  leash_opts_free(opts);
  leash_event *e = call(c, "initialize",
                        "{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{\"roots\":{}},"
                        "\"clientInfo\":{\"name\":\"test\",\"version\":\"1\"}}");
  CHECK_HAS(json(e), "\"serverInfo\"");
  leash_event_free(e);
  CHECK_INT(leash_notify(c, "notifications/initialized", NULL, 0), 0);
  int asked = 0;
  while (!asked) {
    e = next(c);
    if (leash_event_kind(e) == LEASH_EVENT_REQUEST) {
      CHECK_TEXT(str(e, LEASH_STR_METHOD), "roots/list");
      CHECK_TEXT(str(e, LEASH_STR_PEER_ID), "0");
      CHECK_INT(leash_reply(e, "{\"roots\":[{\"uri\":\"file:///tmp\"}]}", LEASH_NUL), 0);
      CHECK_FAILS(leash_reply(e, "{}", LEASH_NUL), LEASH_E_STATE);
      asked = 1;
    }
    leash_event_free(e);
  }
  e = call(c, "tools/call", "{\"name\":\"echo\",\"arguments\":{\"message\":\"caf\xc3\xa9\"}}");
  CHECK_HAS(json(e), "Echo: caf\xc3\xa9");
  leash_event_free(e);
  CHECK_INT(leash_close(c, LONG), 0);
  leash_free(c);
}

/* A language server: initialize, answer what it asks, shut down. */
static void a_language_server(char **server, const char *hover, int asks) {
  leash_conn *c = start_with(server, LEASH_OPT_PROTOCOL, LEASH_PROTOCOL_LSP);
  leash_event *e =
    call(c, "initialize",
         "{\"processId\":null,\"rootUri\":null,\"capabilities\":{\"workspace\":"
         "{\"configuration\":true,\"workspaceFolders\":true,\"didChangeWatchedFiles\":"
         "{\"dynamicRegistration\":true},\"didChangeConfiguration\":{\"dynamicRegistration\":true}}}}");
  CHECK_HAS(json(e), "\"capabilities\"");
  leash_event_free(e);
  CHECK_INT(leash_notify(c, "initialized", "{}", LEASH_NUL), 0);
  CHECK_INT(leash_notify(c, "textDocument/didOpen", hover, LEASH_NUL), 0);
  int answered = 0;
  while (answered < asks) {
    e = next(c);
    if (leash_event_kind(e) == LEASH_EVENT_REQUEST) {
      const char *method = str(e, LEASH_STR_METHOD);
      const char *result = strcmp(method, "workspace/configuration") == 0 ? "[{}]" : "null";
      CHECK_INT(leash_reply(e, result, LEASH_NUL), 0);
      answered++;
    }
    leash_event_free(e);
  }
  leash_event_free(call(c, "shutdown", NULL));
  CHECK_INT(leash_notify(c, "exit", NULL, 0), 0);
  e = closed(c);
  CHECK_INT(num(e, LEASH_INT_EXIT_CODE), 0);
  CHECK_INT(num(e, LEASH_INT_STAGE), LEASH_STAGE_EXITED);
  leash_event_free(e);
  leash_free(c);
}

static void ruff(char **server) {
  a_language_server(server,
                    "{\"textDocument\":{\"uri\":\"file:///tmp/caf\xc3\xa9.py\",\"languageId\":"
                    "\"python\",\"version\":1,\"text\":\"x = '\xf0\x9f\x98\x80'\\n\"}}",
                    atoi(getenv("ASKS")));
}

static void bash(char **server) {
  a_language_server(server,
                    "{\"textDocument\":{\"uri\":\"file:///tmp/caf\xc3\xa9.sh\",\"languageId\":"
                    "\"shellscript\",\"version\":1,\"text\":\"echo '\xf0\x9f\x98\x80'\\n\"}}",
                    atoi(getenv("ASKS")));
}

static void codex(char **server) {
  leash_conn *c = start_with(server, LEASH_OPT_PROTOCOL, LEASH_PROTOCOL_BARE);
  leash_event *e = call(c, "initialize", "{\"clientName\":\"test\"}");
  CHECK_HAS(json(e), "\"sessionId\"");
  leash_event_free(e);
  CHECK_INT(leash_notify(c, "initialized", NULL, 0), 0);
  e = NULL;
  CHECK_FAILS(leash_call(c, "no/such", NULL, 0, LONG, &e), LEASH_E_RPC);
  CHECK(num(e, LEASH_INT_RPC_CODE) < 0);
  CHECK(text(e) != NULL);
  leash_event_free(e);
  e = call(c, "process/start",
           "{\"processId\":\"p1\",\"argv\":[\"sh\",\"-c\",\"echo hi; echo err >&2; exit 3\"],"
           "\"cwd\":\"file:///tmp\",\"env\":{\"PATH\":\"/usr/bin:/bin\"},\"tty\":false,\"arg0\":null}");
  CHECK_HAS(json(e), "\"p1\"");
  leash_event_free(e);
  int output = 0, exited = 0, over = 0;
  while (!over) {
    e = next(c);
    if (leash_event_kind(e) == LEASH_EVENT_NOTIFY) {
      const char *method = str(e, LEASH_STR_METHOD);
      output += strcmp(method, "process/output") == 0;
      over += strcmp(method, "process/closed") == 0;
      if (strcmp(method, "process/exited") == 0) {
        CHECK_HAS(json(e), "\"exitCode\":3");
        exited++;
      }
    }
    leash_event_free(e);
  }
  CHECK_INT(exited, 1);
  CHECK(output >= 2);
  finish(c);
}

static const struct scenario all[] = {
  SCENARIO(a_thousand_calls_from_one_thread),
  SCENARIO(sixty_four_threads),
  SCENARIO(roots_are_listed),
  SCENARIO(ruff),
  SCENARIO(bash),
  SCENARIO(codex),
};
MAIN(all)
