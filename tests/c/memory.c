/* A machine without memory: the program defines malloc and its kin, so that the n-th request
 * fails, or all large ones do. */
#include "check.h"

#include <sys/wait.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);

static int is_armed;
/* The number of the one that fails, and how many came so far. */
static int64_t fails_at, asked;
/* From this size on all fail. */
static size_t too_large = SIZE_MAX;

static int fails(size_t size) {
  if (!__atomic_load_n(&is_armed, __ATOMIC_SEQ_CST)) return 0;
  int64_t number = __atomic_add_fetch(&asked, 1, __ATOMIC_SEQ_CST);
  if (number != fails_at && size < too_large) return 0;
  errno = ENOMEM;
  return 1;
}

void *malloc(size_t size) { return fails(size) ? NULL : __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return fails(n * size) ? NULL : __libc_calloc(n, size); }
void *realloc(void *old, size_t size) { return fails(size) ? NULL : __libc_realloc(old, size); }

static void arm(int on) { __atomic_store_n(&is_armed, on, __ATOMIC_SEQ_CST); }

/* One session with all that needs memory; its results are what they may be. */
static void session(char **server) {
  leash_opts *opts = leash_opts_new();
  const char *const env[] = { "A=1", "B=2" };
  leash_conn *c = NULL;
  leash_event *e = NULL;
  int64_t id;
  if (!opts) return;
  if (leash_opts_set_list(opts, LEASH_OPT_ENV, env, 2) == 0 &&
      leash_connect((const char *const *)server, opts, LONG, &c) == 0) {
    leash_submit(c, "x", "[1]", LEASH_NUL, LONG, 0, &id);
    if (leash_call(c, "x", "[2]", LEASH_NUL, LONG, &e) == 0) CHECK_TEXT(json(e), "[2]");
    leash_event_free(e);
    while (leash_poll(c, 0, &e) == 1) leash_event_free(e);
    leash_close(c, LONG);
  }
  leash_opts_free(opts);
  leash_free(c);
}

/* Rust ends a process that has no memory for what cannot be refused, with SIGABRT. No other
 * end is allowed: what the host has in memory is never written over. */
static void each_request_fails(char **server) {
  int64_t points = atoll(getenv("POINTS")), all = 0, worked = 0, aborted = 0;
  int ends[2], status;
  CHECK_INT(pipe(ends), 0);
  for (int64_t point = 0; point <= points; point++) {
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      alarm(50);
      /* The first one counts. */
      fails_at = point == 0 ? 0 : 1 + (point - 1) * all / points;
      arm(1);
      session(server);
      arm(0);
      if (point == 0) CHECK_INT(write(ends[1], &asked, sizeof asked), sizeof asked);
      _exit(0);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    if (point == 0) {
      CHECK_INT(read(ends[0], &all, sizeof all), sizeof all);
      if (points > all) points = all;
    }
    worked += status == 0;
    aborted += WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
    if (status != 0 && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT)) {
      printf("request %lld of %lld: status %x\n", (long long)(1 + (point - 1) * all / points),
             (long long)all, (unsigned)status);
      failed(__FILE__, __LINE__, "an orderly end");
    }
  }
  printf("%lld of %lld requests failed, one in each session: %lld sessions went on, %lld aborted\n",
         (long long)points, (long long)all, (long long)worked - 1, (long long)aborted);
}

#define MIB ((size_t)1 << 20)

/* No memory for a large message: an error, and the host goes on. */
static void large_requests_fail(char **server) {
  char *big = (char *)malloc(8 * MIB);
  memset(big, ' ', 8 * MIB);
  big[0] = '[';
  big[8 * MIB - 1] = ']';
  leash_conn *c = start(server, NULL);
  leash_event *e = NULL;
  SKIP(c, LEASH_EVENT_OPEN);
  too_large = MIB;
  arm(1);
  /* The server reads slowly, so that most of it would have to be kept. */
  CHECK_FAILS(leash_call(c, "x", big, 8 * MIB, LONG, &e), LEASH_E_NO_MEMORY);
  CHECK(e == NULL);
  CHECK_INT(leash_conn_int(c, LEASH_INT_PENDING), 0);
  arm(0);
  free(big);
  leash_free(c);
}

/* No memory for the peer's large message: the connection ends, and says why. */
static void a_large_answer_finds_no_memory(char **server) {
  leash_conn *c = start(server, NULL);
  leash_event *e = NULL;
  too_large = 4 * MIB;
  arm(1);
  CHECK_FAILS(leash_call(c, "x", NULL, 0, LONG, &e), LEASH_E_CLOSED);
  CHECK(e == NULL);
  e = closed(c);
  arm(0);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_NO_MEMORY);
  CHECK_HAS(text(e), "memory");
  leash_event_free(e);
  leash_free(c);
}

static const struct scenario all[] = {
  SCENARIO(each_request_fails),
  SCENARIO(large_requests_fail),
  SCENARIO(a_large_answer_finds_no_memory),
};
MAIN(all)
