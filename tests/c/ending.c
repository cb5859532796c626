/* How connections end. */
#include "check.h"

#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>

/* The end of stdout comes before the exit that caused it, and on a busy machine long enough
 * before to be taken for the reason. That the status is the reason is certain where a helper
 * holds stdout: see a_helper_holds_stdout. */
static void has_reason(const char *text, const char *why) {
  if (!strstr(text, "closed its stdout")) CHECK_HAS(text, why);
}

/* A pending call, a wait in progress and a queued response, then the end by itself. */
static void ended(char **server, int64_t status, int64_t code, int64_t number, const char *why) {
  leash_conn *c = start(server, NULL);
  int64_t id = submit(c, "x", NULL, 5);
  leash_event *e = (leash_event *)&e;
  CHECK_FAILS(leash_call(c, "y", NULL, 0, LONG, &e), LEASH_E_CLOSED);
  CHECK(e == NULL);
  has_reason(leash_last_error(), why);
  CHECK_INT(leash_wait(c, id, LONG, &e), 1);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_CLOSED);
  CHECK_INT(num(e, LEASH_INT_TAG), 5);
  has_reason(text(e), why);
  leash_event_free(e);
  SKIP(c, LEASH_EVENT_OPEN);
  /* Its last words come before the end. */
  int words = 0;
  while (leash_event_kind(e = next(c)) != LEASH_EVENT_CLOSED) {
    words += leash_event_kind(e) == LEASH_EVENT_NOTIFY;
    words += leash_event_kind(e) == LEASH_EVENT_STDERR;
    leash_event_free(e);
  }
  CHECK_INT(words, 2);
  CHECK_INT(num(e, LEASH_INT_STATUS), status);
  has_reason(text(e), why);
  CHECK_INT(num(e, LEASH_INT_EXIT_CODE), code);
  CHECK_INT(num(e, LEASH_INT_EXIT_SIGNAL), number);
  CHECK_INT(num(e, LEASH_INT_LEFT), 0);
  leash_event_free(e);
  CHECK_INT(leash_poll(c, -1, &e), LEASH_E_CLOSED);
  /* Who comes late hears why, too. */
  CHECK_FAILS(leash_notify(c, "z", NULL, 0), LEASH_E_CLOSED);
  has_reason(leash_last_error(), why);
  CHECK_INT(leash_close(c, LONG), 0);
  leash_free(c);
}

static void exits_with_status_3(char **server) {
  ended(server, LEASH_E_CLOSED, 3, LEASH_NONE, "exited with status 3");
}

static void exits_with_status_0(char **server) {
  ended(server, LEASH_E_CLOSED, 0, LEASH_NONE, "exited with status 0");
}

static void dies_of_a_signal(char **server) {
  ended(server, LEASH_E_CLOSED, LEASH_NONE, SIGABRT, "was killed by signal 6");
}

static void closes_its_stdout(char **server) {
  ended(server, LEASH_E_CLOSED, 0, LEASH_NONE, "closed its stdout");
}

/* Two requests are read; what is sent after stdin was closed cannot go. */
static void closes_its_stdin(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  SKIP(c, LEASH_EVENT_NOTIFY);
  leash_event *e = NULL;
  int64_t id;
  int n;
  EVENTUALLY((n = leash_submit(c, "x", NULL, 0, -1, 0, &id)) != 0);
  CHECK_INT(n, LEASH_E_CLOSED);
  e = closed(c);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_CLOSED);
  CHECK_HAS(text(e), "closed its stdin");
  leash_event_free(e);
  leash_free(c);
}

/* The server crashes, and its helper holds stdout and would for hours. */
static void a_helper_holds_stdout(char **server) {
  leash_conn *c = start(server, NULL);
  int64_t began = now();
  leash_event *e = NULL;
  CHECK_FAILS(leash_call(c, "x", NULL, 0, -1, &e), LEASH_E_CLOSED);
  CHECK_HAS(leash_last_error(), "status 3");
  e = closed(c);
  CHECK(now() - began < LONG);
  CHECK_INT(num(e, LEASH_INT_EXIT_CODE), 3);
  CHECK(num(e, LEASH_INT_STAGE) >= LEASH_STAGE_TERM);
  leash_event_free(e);
  leash_free(c);
}

/* The launcher exits with status 0, and what it has started serves on. */
static void a_launcher_leaves_the_server(char **server) {
  leash_conn *c = start(server, NULL);
  SKIP(c, LEASH_EVENT_OPEN);
  /* Sent by the launcher's last command; the rest by who stays. */
  SKIP(c, LEASH_EVENT_NOTIFY);
  int64_t pid = leash_conn_int(c, LEASH_INT_PID);
  char path[64], state = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  /* Until the launcher is a zombie; the guard keeps it as one. */
  int64_t limit = now() + LONG;
  while (state != 'Z' && now() < limit) {
    FILE *f = fopen(path, "r");
    if (!f || fscanf(f, "%*d %*s %c", &state) != 1) state = 'Z';
    if (f) fclose(f);
    poll(NULL, 0, 1);
  }
  CHECK_INT(state, 'Z');
  for (int i = 0; i < 20; i++) leash_event_free(call(c, "echo", "[1]"));
  CHECK_INT(leash_close(c, LONG), 0);
  leash_event *e = closed(c);
  CHECK_INT(num(e, LEASH_INT_STATUS), 0);
  CHECK_INT(num(e, LEASH_INT_EXIT_CODE), 0);
  leash_event_free(e);
  leash_free(c);
}

/* The server ignores the end of its input, and SIGTERM if told to. */
static void needs(char **server, int64_t stage, int number) {
  leash_opts *opts = with(LEASH_OPT_EXIT_AFTER, 100);
  CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_KILL_AFTER, stage == LEASH_STAGE_KILL ? 100 : LONG), 0);
  leash_conn *c = start(server, opts);
  leash_opts_free(opts);
  SKIP(c, LEASH_EVENT_OPEN);
  SKIP(c, LEASH_EVENT_NOTIFY);
  CHECK_FAILS(leash_close(c, 0), LEASH_E_TIMEOUT);
  CHECK_INT(leash_close(c, LONG), 0);
  leash_event *e = NEXT(c, LEASH_EVENT_CLOSED);
  CHECK_INT(num(e, LEASH_INT_STATUS), 0);
  CHECK_INT(num(e, LEASH_INT_STAGE), stage);
  CHECK_INT(num(e, LEASH_INT_EXIT_SIGNAL), number);
  CHECK_INT(num(e, LEASH_INT_EXIT_CODE), LEASH_NONE);
  CHECK_INT(num(e, LEASH_INT_KILLED), stage == LEASH_STAGE_KILL);
  leash_event_free(e);
  leash_free(c);
}

static void needs_sigterm(char **server) { needs(server, LEASH_STAGE_TERM, SIGTERM); }
static void needs_sigkill(char **server) { needs(server, LEASH_STAGE_KILL, SIGKILL); }

/* The host is nobody, and its server becomes root: no signal of ours reaches that. */
static void a_server_of_another_user_is_told(char **server) {
  CHECK_INT(setgid(65534), 0);
  CHECK_INT(setuid(65534), 0);
  leash_opts *opts = with(LEASH_OPT_EXIT_AFTER, 100);
  CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_KILL_AFTER, 100), 0);
  leash_conn *c = start(server, opts);
  leash_opts_free(opts);
  SKIP(c, LEASH_EVENT_OPEN);
  leash_event *e = NEXT(c, LEASH_EVENT_NOTIFY);
  int is_other = strcmp(str(e, LEASH_STR_METHOD), "other") == 0;
  leash_event_free(e);
  if (!is_other) {
    /* A file system that is mounted with nosuid. */
    printf("same\n");
    leash_free(c);
    return;
  }
  printf("%lld\n", (long long)leash_conn_int(c, LEASH_INT_PID));
  int64_t began = now();
  CHECK_FAILS(leash_close(c, LONG), LEASH_E_LEFT);
  CHECK_HAS(leash_last_error(), "1 process");
  CHECK(now() - began < LONG);
  CHECK_FAILS(leash_close(c, 0), LEASH_E_LEFT);
  e = NEXT(c, LEASH_EVENT_CLOSED);
  CHECK_INT(num(e, LEASH_INT_LEFT), 1);
  CHECK_INT(num(e, LEASH_INT_STAGE), LEASH_STAGE_KILL);
  CHECK_INT(num(e, LEASH_INT_STATUS), 0);
  leash_event_free(e);
  leash_free(c);
}

/* ---- connecting, and a signal handler that runs meanwhile */

static void nothing(int number) { (void)number; }

static void in_a_moment(long microseconds) {
  struct itimerval t;
  memset(&t, 0, sizeof t);
  t.it_value.tv_usec = microseconds;
  /* And again: the first may come before the wait. */
  if (microseconds) t.it_interval.tv_usec = 10000;
  CHECK_INT(setitimer(ITIMER_REAL, &t, NULL), 0);
}

static void a_signal_ends_connecting(char **server) {
  struct sigaction handler;
  memset(&handler, 0, sizeof handler);
  handler.sa_handler = nothing;
  CHECK_INT(sigaction(SIGALRM, &handler, NULL), 0);
  leash_opts *opts = leash_opts_new();
  const char *url = getenv("URL");
  const char *const *argv = url ? NULL : (const char *const *)server;
  if (url) CHECK_INT(leash_opts_set_str(opts, LEASH_OPT_URL, url), 0);
  /* A process may have started before the signal came, a peer that never answers has not. */
  int interrupted = 0;
  for (long i = 0; i < 2000 && !interrupted; i++) {
    leash_conn *c = (leash_conn *)&c;
    in_a_moment(url ? 20000 : 1 + i % 100 * 20);
    int n = leash_connect(argv, opts, LONG, &c);
    in_a_moment(0);
    interrupted = n == LEASH_E_INTERRUPTED;
    if (n) CHECK_FAILS(n, LEASH_E_INTERRUPTED);
    CHECK_INT(c == NULL, n != 0);
    leash_free(c);
  }
  CHECK(interrupted);
  leash_opts_free(opts);
}

/* ---- close, from another thread */

static void *wait_in_poll(void *arg) {
  leash_event *e = NULL;
  int n;
  while ((n = leash_poll((leash_conn *)arg, -1, &e)) == 1) leash_event_free(e);
  CHECK_INT(n, LEASH_E_CLOSED);
  return NULL;
}

static void *wait_in_call(void *arg) {
  leash_event *e = (leash_event *)&e;
  CHECK_INT(leash_call((leash_conn *)arg, "x", NULL, 0, -1, &e), LEASH_E_CLOSED);
  CHECK(e == NULL);
  return NULL;
}

static void *wait_in_wait(void *arg) {
  leash_conn *c = (leash_conn *)arg;
  leash_event *e = NULL;
  int64_t id = submit(c, "x", NULL, 0);
  int n = leash_wait(c, id, -1, &e);
  /* A poll of another thread may have been faster. */
  if (n == LEASH_E_STATE) return NULL;
  CHECK_INT(n, 1);
  CHECK_INT(num(e, LEASH_INT_STATUS), LEASH_E_CLOSED);
  leash_event_free(e);
  return NULL;
}

static void *close_it(void *arg) {
  CHECK_INT(leash_close((leash_conn *)arg, LONG), 0);
  return NULL;
}

static void a_close_makes_all_threads_return(char **server) {
  leash_conn *c = start(server, NULL);
  pthread_t threads[16];
  void *(*const what[])(void *) = { wait_in_call, wait_in_call, wait_in_wait, wait_in_poll };
  for (int i = 0; i < 12; i++) threads[i] = thread(what[i % 4], c);
  EVENTUALLY(leash_conn_int(c, LEASH_INT_PENDING) == 9);
  for (int i = 12; i < 16; i++) threads[i] = thread(close_it, c);
  for (int i = 0; i < 16; i++) join(threads[i]);
  leash_free(c);
}

/* Freed while the server works on a call, without a close before. */
static void free_alone_is_enough(char **server) {
  for (int i = 0; i < 10; i++) {
    leash_conn *c = start(server, NULL);
    submit(c, "x", NULL, 0);
    leash_free(c);
    /* Before it has opened. */
    CHECK_INT(leash_connect((const char *const *)server, NULL, 0, &c), 0);
    leash_free(c);
  }
}

/* What was queued for the server before the close arrives there. */
static void what_was_sent_arrives(char **server) {
  leash_conn *c = start_with(server, LEASH_OPT_CORK, 1);
  for (int i = 0; i < 20000; i++) CHECK_INT(leash_notify(c, "a-notification", "[1,2,3]", LEASH_NUL), 0);
  CHECK_INT(leash_close(c, LONG), 0);
  leash_event *e;
  int found = 0;
  while (leash_event_kind(e = next(c)) != LEASH_EVENT_CLOSED) {
    if (leash_event_kind(e) == LEASH_EVENT_STDERR) {
      CHECK_INT(atoi(text(e)), 20000);
      found = 1;
    }
    leash_event_free(e);
  }
  CHECK(found);
  CHECK_INT(num(e, LEASH_INT_STATUS), 0);
  leash_event_free(e);
  leash_free(c);
}

/* ---- a host that adopts orphans */

static pid_t parent_of(int64_t pid) {
  char path[64];
  int ppid = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  FILE *f = fopen(path, "r");
  CHECK(f && fscanf(f, "%*d %*s %*c %d", &ppid) == 1);
  fclose(f);
  return ppid;
}

/* Whether it is a child of ours: it runs, or nobody has reaped it. */
static int is_child(pid_t pid) {
  siginfo_t info;
  return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static int is_zombie(pid_t pid) {
  siginfo_t info;
  memset(&info, 0, sizeof info);
  return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

/* A process that holds another one where it ends, as a debugger can. */
struct holder {
  pid_t pid;
  int let_go; /* holds it until this is closed */
  int may;    /* whether ptrace(2) is permitted */
};

static void hold_at_its_end(pid_t pid, int ready, int let_go, int ms) {
  char byte = ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACEEXIT) == 0 ? 'y' : 'n';
  int status;
  if (write(ready, &byte, 1) != 1 || byte == 'n') _exit(1);
  while (waitpid(pid, &status, __WALL) == pid && status >> 8 != (SIGTRAP | PTRACE_EVENT_EXIT << 8))
    ptrace(PTRACE_CONT, pid, NULL, WSTOPSIG(status));
  readable(let_go, ms);
  ptrace(PTRACE_DETACH, pid, NULL, NULL);
  _exit(0);
}

/* Hold `pid`, for `ms` at most; -1 is until let_go. */
static struct holder hold(pid_t pid, int ms) {
  int ready[2], let_go[2];
  char byte;
  CHECK(pipe(ready) == 0 && pipe(let_go) == 0);
  pid_t holder = fork();
  CHECK(holder >= 0);
  if (holder == 0) {
    close(let_go[1]);
    hold_at_its_end(pid, ready[1], let_go[0], ms);
  }
  CHECK_INT(read(ready[0], &byte, 1), 1);
  if (byte == 'n') printf("no debugger\n");
  close(ready[0]), close(ready[1]), close(let_go[0]);
  struct holder held = {holder, let_go[1], byte == 'y'};
  return held;
}

static void let_go(struct holder holder) { close(holder.let_go); }

static void end(struct holder holder) { CHECK_INT(waitpid(holder.pid, NULL, 0), holder.pid); }

/* Close, and give the code. Soon, whatever the graces. */
static int closes_soon(leash_conn *c) {
  int64_t began = now();
  int code = leash_close(c, LONG);
  CHECK(now() - began < LONG / 2);
  return code;
}

/* Close a connection whose guard is held for `ms`: it is reaped if it could be, and at last a later
 * connection reaps it. */
static void close_with_a_held_guard(char **server, int ms) {
  leash_opts *opts = with(LEASH_OPT_EXIT_AFTER, LONG);
  leash_conn *c = start(server, opts);
  leash_opts_free(opts);
  SKIP(c, LEASH_EVENT_OPEN);
  pid_t guard = parent_of(leash_conn_int(c, LEASH_INT_PID));
  CHECK(is_child(guard));
  struct holder holder = hold(guard, ms);
  CHECK_INT(closes_soon(c), 0);
  leash_event_free(closed(c));
  leash_free(c);
  CHECK_INT(is_child(guard), holder.may && ms == -1);
  let_go(holder);
  EVENTUALLY(!is_child(guard) || is_zombie(guard));
  leash_free(start(server, NULL));
  CHECK(!is_child(guard));
  end(holder);
}

/* A helper of the server is slow to die: what is known is told, and not kept back until the
 * guard, which goes on, has ended. Server: tells the helper's pid. */
static void a_held_helper_is_told(char **server) {
  CHECK_INT(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  leash_opts *opts = with(LEASH_OPT_EXIT_AFTER, LONG);
  CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_KILL_AFTER, 100), 0);
  leash_conn *c = start(server, opts);
  leash_opts_free(opts);
  SKIP(c, LEASH_EVENT_OPEN);
  leash_event *e = NEXT(c, LEASH_EVENT_NOTIFY);
  struct holder holder = hold((pid_t)atoi(json(e) + 1), -1);
  leash_event_free(e);
  CHECK_INT(closes_soon(c), holder.may ? LEASH_E_LEFT : 0);
  leash_free(c);
  let_go(holder);
  end(holder);
}

static void a_held_guard_is_reaped(char **server) {
  CHECK_INT(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  close_with_a_held_guard(server, 200);
  close_with_a_held_guard(server, -1);
}

/* ---- again and again */

static void children(char *list, size_t size) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
  FILE *f = fopen(path, "r");
  CHECK(f != NULL);
  list[fread(list, 1, size - 1, f)] = '\0';
  fclose(f);
}

static void a_thousand_connections_leave_nothing(char **server) {
  int descriptors = 0, threads = 0, cycles = atoi(getenv("CYCLES"));
  char before[200] = "", after[200] = "";
  for (int i = 1; i <= cycles; i++) {
    leash_conn *c = start(server, NULL);
    CHECK(leash_fd(c) >= 0);
    leash_event_free(call(c, "x", "[]"));
    leash_free(c);
    if (i == 1) {
      descriptors = entries("/proc/self/fd");
      threads = entries("/proc/self/task");
      children(before, sizeof before);
    }
  }
  CHECK_INT(entries("/proc/self/fd"), descriptors);
  CHECK_INT(entries("/proc/self/task"), threads);
  children(after, sizeof after);
  CHECK_TEXT(after, before);
}

static const struct scenario all[] = {
  SCENARIO(exits_with_status_3),
  SCENARIO(exits_with_status_0),
  SCENARIO(dies_of_a_signal),
  SCENARIO(closes_its_stdout),
  SCENARIO(closes_its_stdin),
  SCENARIO(a_helper_holds_stdout),
  SCENARIO(a_launcher_leaves_the_server),
  SCENARIO(needs_sigterm),
  SCENARIO(needs_sigkill),
  SCENARIO(a_server_of_another_user_is_told),
  SCENARIO(a_signal_ends_connecting),
  SCENARIO(a_close_makes_all_threads_return),
  SCENARIO(free_alone_is_enough),
  SCENARIO(what_was_sent_arrives),
  SCENARIO(a_held_guard_is_reaped),
  SCENARIO(a_held_helper_is_told),
  SCENARIO(a_thousand_connections_leave_nothing),
};
MAIN(all)
