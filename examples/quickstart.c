/* quickstart SERVER [ARGUMENT...]: run a command through an exec-server, print its output as
 * it streams, let go, and say how that went. The server may be `codex exec-server --listen
 * stdio` or the demo server: ./examples/quickstart.sh builds and chooses. It may also be the
 * URL of one that listens, with its token, if it wants one, in LEASH_TOKEN. */
#include <leash.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const char *what) {
  fprintf(stderr, "%s: %s\n", what, leash_last_error());
  return 1;
}

/* What follows "name": in a JSON object. A real host asks its JSON parser. */
static const char *member(const char *json, const char *name) {
  const char *found = strstr(json, name);
  return found ? found + strlen(name) + 2 : "";
}

static void write_base64(const char *text, FILE *to) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  unsigned bits = 0, held = 0;
  for (const char *d; *text && (d = strchr(digits, *text)); text++) {
    bits = bits << 6 | (unsigned)(d - digits);
    if ((held += 6) >= 8) fputc((int)(bits >> (held -= 8) & 255), to);
  }
  fflush(to);
}

/* Print one event. True when it is the last one that we want. */
static int show(const leash_event *e) {
  const char *method = leash_event_str(e, LEASH_STR_METHOD, NULL);
  const char *json = leash_event_str(e, LEASH_STR_JSON, NULL);
  const char *text = leash_event_str(e, LEASH_STR_TEXT, NULL);
  if (leash_event_kind(e) == LEASH_EVENT_CLOSED) {
    int64_t code = leash_event_int(e, LEASH_INT_EXIT_CODE); /* none if a signal ended it */
    int64_t stage = leash_event_int(e, LEASH_INT_STAGE);    /* none behind a URL */
    printf("closed: %s", text ? text : "");
    if (stage != LEASH_NONE)
      printf("; stage %d, killed %d", (int)stage, (int)leash_event_int(e, LEASH_INT_KILLED));
    if (code != LEASH_NONE) printf(", server's exit code %d", (int)code);
    putchar('\n');
    return 1;
  }
  if (leash_event_kind(e) != LEASH_EVENT_NOTIFY || !method || !json) return 0;
  if (!strcmp(method, "process/output"))
    write_base64(member(json, "chunk") + 1, strstr(json, "\"stderr\"") ? stderr : stdout);
  if (!strcmp(method, "process/exited")) printf("exit code: %d\n", atoi(member(json, "exitCode")));
  return !strcmp(method, "process/closed");
}

static int call(leash_conn *c, const char *method, const char *params) {
  leash_event *answer = NULL; /* its result: leash_event_str(answer, LEASH_STR_JSON, NULL) */
  int status = leash_call(c, method, params, LEASH_NUL, 10000, &answer) < 0 ? failed(method) : 0;
  leash_event_free(answer);
  return status;
}

static int run(leash_conn *c) {
  int done = 0, lost = 0;
  if (call(c, "initialize", "{\"clientName\":\"quickstart\"}")) return 1;
  if (leash_notify(c, "initialized", NULL, 0) < 0) return failed("initialized");
  if (call(c, "process/start", "{\"processId\":\"p1\",\"cwd\":\"file:///tmp\",\"tty\":false,\"arg0\":null,"
           "\"env\":{\"PATH\":\"/usr/bin:/bin\"},\"argv\":[\"sh\",\"-c\","
           "\"for i in 1 2 3; do echo line $i; sleep 0.2; done; echo oops >&2; exit 3\"]}")) return 1;
  while (!done) {
    leash_event *e;
    int got = leash_poll(c, 10000, &e);
    if (got < 0) return failed("leash_poll");
    if (got == 0) return fputs("no event for 10 s\n", stderr), 1;
    done = show(e);
    lost = leash_event_kind(e) == LEASH_EVENT_CLOSED;
    leash_event_free(e); /* if it was a REQUEST, this tells the server that nobody answers */
  }
  return lost;
}

int main(int argc, char **argv) {
  if (argc < 2) return fprintf(stderr, "usage: %s SERVER [ARGUMENT...]\n", argv[0]), 2;
  leash_conn *c;
  leash_opts *opts = leash_opts_new();
  leash_opts_set_int(opts, LEASH_OPT_PROTOCOL, LEASH_PROTOCOL_BARE);
  int is_url = !strncmp(argv[1], "ws://", 5) || !strncmp(argv[1], "wss://", 6), opened = 0;
  if (is_url) opened = leash_opts_set_str(opts, LEASH_OPT_URL, argv[1]);
  if (is_url && !opened) opened = leash_opts_set_str(opts, LEASH_OPT_BEARER, getenv("LEASH_TOKEN"));
  if (!opened) opened = leash_connect(is_url ? NULL : (const char *const *)(argv + 1), opts, 10000, &c);
  if (opened < 0) failed("leash_connect");
  leash_opts_free(opts);
  if (opened < 0) return 1;

  int status = run(c);
  if (leash_close(c, -1) < 0) status = failed("leash_close");
  for (leash_event *e; leash_poll(c, 0, &e) > 0; leash_event_free(e)) show(e);
  leash_free(c);
  return status;
}
