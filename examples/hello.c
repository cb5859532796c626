/* hello SERVER [ARGUMENT...]: run a command through an exec-server, in C.
 * cc hello.c -lleash; ./a.out codex exec-server --listen stdio */
#include <leash.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  const char *start = "{\"processId\":\"p1\",\"cwd\":\"file:///tmp\",\"tty\":false,\"arg0\":null,"
    "\"env\":{\"PATH\":\"/usr/bin:/bin\"},\"argv\":[\"sh\",\"-c\",\"echo line 1; echo oops >&2; exit 3\"]}";
  leash_conn *server = NULL;
  leash_event *e = NULL;
  leash_opts *opts = leash_opts_new();
  leash_opts_set_int(opts, LEASH_OPT_PROTOCOL, LEASH_PROTOCOL_BARE);
  int failed = argc < 2 || leash_connect((const char *const *)argv + 1, opts, 5000, &server) < 0 ||
               leash_call(server, "initialize", "{\"clientName\":\"hello\"}", LEASH_NUL, 5000, &e) < 0 ||
               leash_notify(server, "initialized", NULL, 0) < 0 ||
               leash_submit(server, "process/start", start, LEASH_NUL, 5000, 0, NULL) < 0;
  if (failed) fprintf(stderr, "%s\n", leash_last_error());
  leash_event_free(e);
  for (int done = failed; !done; leash_event_free(e)) {
    if ((failed = leash_poll(server, 10000, &e) != 1)) break;
    const char *method = leash_event_str(e, LEASH_STR_METHOD, NULL);
    if (method) printf("%s %s\n", method, leash_event_str(e, LEASH_STR_JSON, NULL));
    done = method && strcmp(method, "process/closed") == 0;
  }
  leash_free(server); /* nothing of the server is left after this */
  leash_opts_free(opts);
  return failed;
}
