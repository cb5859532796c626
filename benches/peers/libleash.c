/* libleash, given a command or a URL. One outstanding call is leash_call; several are corked submits. */
#include <leash.h>
#include <string.h>

#include "figures.h"

static leash_conn *conn;

static void must(int code) {
  if (code >= 0) return;
  fprintf(stderr, "%d %s\n", code, leash_last_error());
  exit(1);
}

/* Take events until so many answers have come. */
static void take(int answers) {
  while (answers > 0) {
    leash_event *e = NULL;
    must(leash_poll(conn, 60000, &e));
    answers -= leash_event_kind(e) == LEASH_EVENT_RESPONSE;
    leash_event_free(e);
  }
}

static void batch(int outstanding) {
  leash_event *e = NULL;
  if (outstanding == 1) {
    must(leash_call(conn, "echo", "[1]", 3, 60000, &e));
    leash_event_free(e);
    return;
  }
  for (int i = 0; i < outstanding; i++) must(leash_submit(conn, "echo", "[1]", 3, 60000, 0, NULL));
  take(outstanding);
}

static void call(const char *method, int size) {
  char params[40];
  sprintf(params, "{\"size\":%d}", size);
  must(leash_submit(conn, method, params, LEASH_NUL, 60000, 0, NULL));
  take(1);
}

int main(int argc, char **argv) {
  leash_opts *opts = leash_opts_new();
  if (argc < 2) return 2;
  int is_url = strncmp(argv[1], "ws://", 5) == 0;
  must(leash_opts_set_int(opts, LEASH_OPT_CORK, 1));
  if (is_url) must(leash_opts_set_str(opts, LEASH_OPT_URL, argv[1]));
  must(leash_connect(is_url ? NULL : (const char *const *)argv + 1, opts, 30000, &conn));
  leash_opts_free(opts);
  measure(is_url);
  leash_free(conn);
  return 0;
}
