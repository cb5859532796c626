/* jsonrpc-glib, with Content-Length framing. */
#include <jsonrpc-glib.h>

#include "figures.h"

static JsonrpcClient *client;
static int answered, seen;

static void must(gboolean done, GError *error) {
  if (done) return;
  fprintf(stderr, "%s\n", error ? error->message : "failed");
  exit(1);
}

static void on_answer(GObject *source, GAsyncResult *result, gpointer data) {
  GVariant *value = NULL;
  GError *error = NULL;
  (void)data;
  must(jsonrpc_client_call_finish(JSONRPC_CLIENT(source), result, &value, &error), error);
  if (value) g_variant_unref(value);
  answered++;
}

static void on_notification(JsonrpcClient *from, const char *method, GVariant *params, gpointer data) {
  (void)from, (void)method, (void)params, (void)data;
  seen++;
}

static void begin(const char *method, GVariant *params) {
  jsonrpc_client_call_async(client, method, params, NULL, on_answer, NULL);
}

static void batch(int outstanding) {
  if (outstanding == 1) {
    GVariant *value = NULL;
    GError *error = NULL;
    must(jsonrpc_client_call(client, "echo", NULL, NULL, &value, &error), error);
    if (value) g_variant_unref(value);
    return;
  }
  answered = 0;
  for (int i = 0; i < outstanding; i++) begin("echo", NULL);
  while (answered < outstanding) g_main_context_iteration(NULL, TRUE);
}

static void call(const char *method, int size) {
  int is_flood = method[0] == 'f';
  answered = 0;
  begin(method, g_variant_new_parsed("{'size': <%i>}", size));
  while (answered < 1 || (is_flood && seen < size)) g_main_context_iteration(NULL, TRUE);
}

int main(int argc, char **argv) {
  GError *error = NULL;
  if (argc < 2) return 2;
  GSubprocess *server = g_subprocess_newv(
      (const char *const *)argv + 1, G_SUBPROCESS_FLAGS_STDIN_PIPE | G_SUBPROCESS_FLAGS_STDOUT_PIPE, &error);
  must(server != NULL, error);
  GIOStream *pipes = g_simple_io_stream_new(g_subprocess_get_stdout_pipe(server),
                                            g_subprocess_get_stdin_pipe(server));
  client = jsonrpc_client_new(pipes);
  g_signal_connect(client, "notification", G_CALLBACK(on_notification), NULL);
  jsonrpc_client_start_listening(client);
  measure(0);
  return 0;
}
