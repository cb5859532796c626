/* What the C tests share: checks that say what was seen, and the steps that most of them
 * begin and end with. A program is a table of scenarios; `run` in tests/harness starts it
 * with the name of one and the argv of a server. Any failed check ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include <dirent.h>
#include <errno.h>
#include <leash.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* Longer than anything here takes: who waits so long has failed. */
#define LONG 50000

#define CHECK(what)                                                                           \
  do {                                                                                        \
    if (!(what)) failed(__FILE__, __LINE__, #what);                                           \
  } while (0)
#define CHECK_INT(seen, wanted)                                                               \
  check_int(__FILE__, __LINE__, #seen, (int64_t)(seen), (int64_t)(wanted))
#define CHECK_TEXT(seen, wanted) check_text(__FILE__, __LINE__, #seen, seen, wanted)
#define CHECK_HAS(seen, part) check_has(__FILE__, __LINE__, #seen, seen, part)
/* A failure must have a text, too. */
#define CHECK_FAILS(call, code)                                                               \
  do {                                                                                        \
    CHECK_INT(call, code);                                                                    \
    CHECK(leash_last_error()[0] != '\0');                                                     \
  } while (0)

static inline void failed(const char *file, int line, const char *what) {
  fprintf(stderr, "%s:%d: not so: %s\n(last error: %s)\n", file, line, what, leash_last_error());
  exit(1);
}

static inline void check_int(const char *file, int line, const char *what, int64_t seen,
                             int64_t wanted) {
  if (seen == wanted) return;
  fprintf(stderr, "%s:%d: %s is %lld, not %lld\n(last error: %s)\n", file, line, what,
          (long long)seen, (long long)wanted, leash_last_error());
  exit(1);
}

static inline void check_text(const char *file, int line, const char *what, const char *seen,
                              const char *wanted) {
  if (seen == wanted || (seen && wanted && strcmp(seen, wanted) == 0)) return;
  fprintf(stderr, "%s:%d: %s is\n  %s\nnot\n  %s\n", file, line, what, seen ? seen : "NULL",
          wanted ? wanted : "NULL");
  exit(1);
}

static inline void check_has(const char *file, int line, const char *what, const char *seen,
                             const char *part) {
  if (seen && strstr(seen, part)) return;
  fprintf(stderr, "%s:%d: %s is\n  %s\nwithout\n  %s\n", file, line, what, seen ? seen : "NULL",
          part);
  exit(1);
}

/* ---- connections */

static inline leash_conn *start(char **server, const leash_opts *opts) {
  leash_conn *c = NULL;
  CHECK_INT(leash_connect((const char *const *)server, opts, LONG, &c), 0);
  CHECK(c != NULL);
  return c;
}

/* Settings with one number. */
static inline leash_opts *with(int key, int64_t value) {
  leash_opts *opts = leash_opts_new();
  CHECK(opts != NULL);
  CHECK_INT(leash_opts_set_int(opts, key, value), 0);
  return opts;
}

/* A connection with one number set. */
static inline leash_conn *start_with(char **server, int key, int64_t value) {
  leash_opts *opts = with(key, value);
  leash_conn *c = start(server, opts);
  leash_opts_free(opts);
  return c;
}

/* The next event, whatever it is. */
static inline leash_event *next(leash_conn *c) {
  leash_event *e = NULL;
  CHECK_INT(leash_poll(c, LONG, &e), 1);
  CHECK(e != NULL);
  return e;
}

static inline int64_t num(const leash_event *e, int field) { return leash_event_int(e, field); }

static inline const char *str(const leash_event *e, int field) {
  size_t len = 99;
  const char *text = leash_event_str(e, field, &len);
  CHECK_INT(len, text ? strlen(text) : 0);
  return text;
}

static inline const char *json(const leash_event *e) { return str(e, LEASH_STR_JSON); }
static inline const char *text(const leash_event *e) { return str(e, LEASH_STR_TEXT); }

/* Whether the thread with that id, of whatever process, sleeps. */
static inline int sleeps(int tid) {
  char path[64], state = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", tid);
  FILE *f = fopen(path, "r");
  if (!f) return 0;
  if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1) state = 0;
  fclose(f);
  return state == 'S';
}

#define NEXT(c, kind) next_of(__FILE__, __LINE__, c, kind, #kind)

/* The next event, which must be of that kind. */
static inline leash_event *next_of(const char *file, int line, leash_conn *c, int kind,
                                   const char *name) {
  leash_event *e = next(c);
  const char *said = text(e) ? text(e) : json(e);
  if (leash_event_kind(e) != kind) {
    fprintf(stderr, "%s:%d: the next event is of kind %d, not %s: %s\n", file, line,
            leash_event_kind(e), name, said ? said : "(nothing)");
    exit(1);
  }
  return e;
}

#define SKIP(c, kind) leash_event_free(NEXT(c, kind))

/* One event whose only text is that. */
static inline void expect(leash_conn *c, int kind, int field, const char *wanted) {
  leash_event *e = next_of(__FILE__, __LINE__, c, kind, "what was expected");
  CHECK_TEXT(str(e, field), wanted);
  leash_event_free(e);
}

static inline void expect_stderr(leash_conn *c, const char *wanted) {
  expect(c, LEASH_EVENT_STDERR, LEASH_STR_TEXT, wanted);
}

static inline void expect_nothing(leash_conn *c) {
  leash_event *e = (leash_event *)&e;
  CHECK_INT(leash_poll(c, 0, &e), 0);
  CHECK(e == NULL);
}

/* Events up to CLOSED are passed over; nothing follows it. */
static inline leash_event *closed(leash_conn *c) {
  leash_event *e;
  while (leash_event_kind(e = next(c)) != LEASH_EVENT_CLOSED) leash_event_free(e);
  leash_event *more = NULL;
  CHECK_INT(leash_poll(c, LONG, &more), LEASH_E_CLOSED);
  return e;
}

static inline int64_t submit(leash_conn *c, const char *method, const char *params, int64_t tag) {
  int64_t id = 0;
  CHECK_INT(leash_submit(c, method, params, LEASH_NUL, -1, tag, &id), 0);
  CHECK(id > 0);
  return id;
}

static inline leash_event *call(leash_conn *c, const char *method, const char *params) {
  leash_event *e = NULL;
  CHECK_INT(leash_call(c, method, params, LEASH_NUL, LONG, &e), 0);
  CHECK_INT(leash_event_kind(e), LEASH_EVENT_RESPONSE);
  CHECK_INT(num(e, LEASH_INT_STATUS), 0);
  return e;
}

/* Close at leisure; the server must have ended well, and by itself. */
static inline void finish(leash_conn *c) {
  CHECK_INT(leash_close(c, LONG), 0);
  leash_event *e = closed(c);
  CHECK_INT(num(e, LEASH_INT_STATUS), 0);
  leash_event_free(e);
  leash_free(c);
}

/* ---- time and threads */

static inline int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline pthread_t thread(void *(*run)(void *), void *with_what) {
  pthread_t t;
  CHECK_INT(pthread_create(&t, NULL, run, with_what), 0);
  return t;
}

static inline void join(pthread_t t) { CHECK_INT(pthread_join(t, NULL), 0); }

/* Whether a descriptor is readable within that time. */
static inline int readable(int fd, int timeout_ms) {
  struct pollfd p;
  p.fd = fd;
  p.events = POLLIN;
  p.revents = 0;
  int n = poll(&p, 1, timeout_ms);
  CHECK(n >= 0);
  return n == 1;
}

/* How many names a folder has, such as /proc/self/fd. */
static inline int entries(const char *path) {
  int n = 0;
  DIR *dir = opendir(path);
  CHECK(dir != NULL);
  while (readdir(dir)) n++;
  closedir(dir);
  return n;
}

/* Until it is so; nothing announces it. */
#define EVENTUALLY(what)                                                                      \
  do {                                                                                        \
    int64_t limit_ = now() + LONG;                                                            \
    while (!(what)) {                                                                         \
      if (now() > limit_) failed(__FILE__, __LINE__, #what);                                  \
      poll(NULL, 0, 1);                                                                       \
    }                                                                                         \
  } while (0)

/* ---- the program */

struct scenario {
  const char *name;
  void (*run)(char **server);
};

#define SCENARIO(name) { #name, name }

static inline int run_scenario(const struct scenario *all, size_t n, int argc, char **argv) {
  for (size_t i = 0; argc > 1 && i < n; i++) {
    if (strcmp(all[i].name, argv[1]) == 0) {
      all[i].run(argv + 2);
      return 0;
    }
  }
  fprintf(stderr, "no scenario %s\n", argc > 1 ? argv[1] : "given");
  return 64;
}

#define MAIN(all)                                                                             \
  int main(int argc, char **argv) {                                                           \
    return run_scenario(all, sizeof all / sizeof all[0], argc, argv);                         \
  }

#endif
