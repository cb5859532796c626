/* jsonrpc-glib, ended as its users do: close, SIGTERM, and force_exit. */
#include <jsonrpc-glib.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  char line[16] = "";
  GError *error = NULL;
  if (argc < 2) return 2;
  GSubprocess *server =
    g_subprocess_newv((const char *const *)argv + 1, G_SUBPROCESS_FLAGS_STDIN_PIPE | G_SUBPROCESS_FLAGS_STDOUT_PIPE, &error);
  if (!server) return 1;
  GIOStream *pipes = g_simple_io_stream_new(g_subprocess_get_stdout_pipe(server), g_subprocess_get_stdin_pipe(server));
  JsonrpcClient *client = jsonrpc_client_new(pipes);
  jsonrpc_client_start_listening(client);
  if (!jsonrpc_client_call(client, "initialize", NULL, NULL, NULL, &error)) return 1;
  puts("ready"), fflush(stdout);
  if (fgets(line, sizeof line, stdin) && strcmp(line, "close\n") == 0) {
    jsonrpc_client_close(client, NULL, NULL);
    g_subprocess_send_signal(server, SIGTERM);
    g_usleep(2 * G_USEC_PER_SEC);
    g_subprocess_force_exit(server);
    g_subprocess_wait(server, NULL, NULL);
  }
  return 0;
}
