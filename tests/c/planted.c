/* Mistakes of a host, each of which a sanitizer must see: in this program, and where the
 * library reads what it was given. */
#include "check.h"

/* Short texts are in buffers that the library keeps, which nothing watches. */
static void a_read_after_free(char **server) {
  char params[1001];
  memset(params, ' ', sizeof params);
  params[0] = '[';
  params[999] = ']';
  params[1000] = '\0';
  leash_conn *c = start(server, NULL);
  leash_event *e = call(c, "x", params);
  const char *text = json(e);
  leash_event_free(e);
  printf("%c\n", text[0]);
  leash_free(c);
}

/* The library is told of more bytes than there are, and reads them. */
static void a_length_beyond_the_text(char **server) {
  leash_conn *c = start(server, NULL);
  char *params = (char *)malloc(5000);
  memset(params, ' ', 5000);
  params[0] = '[';
  leash_notify(c, "x", params, 5001);
  free(params);
  leash_free(c);
}

static void a_leak(char **server) {
  (void)server;
  /* The last one may still be found on the stack. */
  for (int i = 0; i < 100; i++) CHECK(leash_opts_new() != NULL);
}

static void *set_often(void *opts) {
  for (int i = 0; i < 10000; i++) leash_opts_set_int((leash_opts *)opts, LEASH_OPT_CORK, i % 2);
  return NULL;
}

/* leash.h wants a lock of the host's here. After a launch: what starts the guard must not
 * blind ThreadSanitizer. */
static void two_threads_set_one(char **server) {
  leash_conn *c = start(server, NULL);
  leash_opts *opts = leash_opts_new();
  pthread_t a = thread(set_often, opts), b = thread(set_often, opts);
  join(a);
  join(b);
  leash_opts_free(opts);
  leash_free(c);
}

static void an_overflow(char **server) {
  int number = 0x7fffffff;
  for (int i = 0; server[i] && i < 1; i++) number++;
  printf("%d\n", number);
}

static const struct scenario all[] = {
  SCENARIO(a_read_after_free),
  SCENARIO(a_length_beyond_the_text),
  SCENARIO(a_leak),
  SCENARIO(two_threads_set_one),
  SCENARIO(an_overflow),
};
MAIN(all)
