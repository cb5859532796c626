/* A server that becomes another user, if its file lets it: then nobody but root may end it.
 * It says who it is, and takes no notice of anything else. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

int main(void) {
  int is_other = setgid(0) == 0 && setuid(0) == 0;
  signal(SIGTERM, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  printf("{\"method\":\"%s\"}\n", is_other ? "other" : "same");
  fflush(stdout);
  for (;;) pause();
}
