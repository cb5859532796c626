/* A host of two Rust libraries. */
#include <leash.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

bool other_works(void);

int main(void) {
  const char *argv[] = {"/nonexistent/server", NULL};
  leash_conn *server = NULL;
  int status = leash_connect(argv, NULL, 5000, &server);
  printf("%s\n", leash_last_error());
  return !(other_works() && status == LEASH_E_CONNECT && strstr(leash_last_error(), "No such file"));
}
