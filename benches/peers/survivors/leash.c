/* libleash, in C. */
#include <leash.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  char line[16] = "";
  leash_conn *server;
  leash_event *e;
  if (argc < 2) return 2;
  if (leash_connect((const char *const *)argv + 1, NULL, 5000, &server) < 0) return 1;
  if (leash_call(server, "initialize", NULL, 0, 5000, &e) < 0) return 1;
  leash_event_free(e);
  puts("ready"), fflush(stdout);
  if (fgets(line, sizeof line, stdin) && strcmp(line, "close\n") == 0) leash_free(server);
  return 0;
}
