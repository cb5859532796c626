/* glib EXEC_SERVER [ARGUMENT...]: run a command, and print what it says, in a GLib main loop.
 * cc glib.c $(pkg-config --cflags --libs glib-2.0) -lleash; ./a.out codex exec-server --listen stdio */
#include <glib-unix.h>
#include <leash.h>

enum { INITIALIZE = 1, START };

static const char *const COMMAND =
  "{\"processId\":\"p1\",\"cwd\":\"file:///tmp\",\"tty\":false,\"arg0\":null,"
  "\"env\":{\"PATH\":\"/usr/bin:/bin\"},\"argv\":[\"sh\",\"-c\","
  "\"for i in 1 2 3; do echo line $i; sleep 0.2; done; exit 3\"]}";

static leash_conn *server;
static GMainLoop *loop;
static int failures, ticks;

static void check(int status) {
  if (status >= 0) return;
  g_printerr("%s\n", leash_last_error());
  failures++;
  leash_close(server, 0);
}

/* An answer: its tag says to what. */
static void answered(const leash_event *e) {
  if (leash_event_int(e, LEASH_INT_STATUS) < 0) {
    g_printerr("%s\n", leash_event_str(e, LEASH_STR_TEXT, NULL));
    failures++;
    leash_close(server, 0);
  } else if (leash_event_int(e, LEASH_INT_TAG) == INITIALIZE) {
    check(leash_notify(server, "initialized", NULL, 0));
    check(leash_submit(server, "process/start", COMMAND, LEASH_NUL, 5000, START, NULL));
  }
}

static void told(const leash_event *e) {
  const char *method = leash_event_str(e, LEASH_STR_METHOD, NULL);
  g_print("%s %s\n", method, leash_event_str(e, LEASH_STR_JSON, NULL));
  if (g_str_equal(method, "process/closed")) leash_close(server, 0); /* begins; CLOSED comes by the loop */
}

/* The descriptor is readable as long as there is an event: one for each turn keeps the loop fair. */
static gboolean on_event(gint fd, GIOCondition condition, gpointer data) {
  (void)fd, (void)condition, (void)data;
  leash_event *e = NULL;
  if (leash_poll(server, 0, &e) != 1) return G_SOURCE_CONTINUE;
  int kind = leash_event_kind(e);
  if (kind == LEASH_EVENT_OPEN)
    check(leash_submit(server, "initialize", "{\"clientName\":\"glib\"}", LEASH_NUL, 5000, INITIALIZE, NULL));
  if (kind == LEASH_EVENT_RESPONSE) answered(e);
  if (kind == LEASH_EVENT_NOTIFY) told(e);
  if (kind == LEASH_EVENT_CLOSED) {
    g_print("%s; the loop turned all the while: %s\n", leash_event_str(e, LEASH_STR_TEXT, NULL),
            ticks > 3 ? "yes" : "no");
    failures += leash_event_int(e, LEASH_INT_STATUS) != 0;
    g_main_loop_quit(loop);
  }
  leash_event_free(e); /* a request of the server is refused by that */
  return kind == LEASH_EVENT_CLOSED ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

static gboolean on_tick(gpointer data) {
  (void)data, ticks++;
  return G_SOURCE_CONTINUE;
}

int main(int argc, char **argv) {
  if (argc < 2) return g_printerr("usage: %s EXEC_SERVER [ARGUMENT...]\n", argv[0]), 2;
  leash_opts *opts = leash_opts_new();
  leash_opts_set_int(opts, LEASH_OPT_PROTOCOL, LEASH_PROTOCOL_BARE);
  int status = leash_connect((const char *const *)argv + 1, opts, 0, &server); /* does not wait */
  leash_opts_free(opts);
  if (status < 0) return g_printerr("%s\n", leash_last_error()), 1;
  loop = g_main_loop_new(NULL, FALSE);
  g_unix_fd_add(leash_fd(server), G_IO_IN, on_event, NULL);
  g_timeout_add(50, on_tick, NULL);
  g_main_loop_run(loop);
  g_main_loop_unref(loop);
  leash_free(server);
  return failures != 0;
}
