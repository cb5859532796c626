/* A host that starts a server and then ends, in one of many ways:
 *
 *   host [-e EXIT_AFTER] [-k KILL_AFTER] [-n COUNT] [-m MEGABYTES] [-p PREPARATION]
 *        [-cqw] EVENT ARGV...
 *
 * It is run by cell.c, which says what is reported on descriptor 3. Before it
 * connects it does each PREPARATION. With -c the server is told to crash, with
 * -q megabytes are queued for it, with -w a call is made first.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "leash.h"

enum { REPORT = 3, CONTROL = 4, MAXIMUM = 1000, TRIES = 12, NOBODY = 65534 };

static const char *const *server;
static leash_opts *opts;
static leash_conn *conns[MAXIMUM];
static leash_conn *conn;
static int conn_count = 1;
static int64_t exit_after = 300, kill_after = 300;

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void report(const char *format, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  if (n > 0 && write(REPORT, line, (size_t)n) != n) _exit(74);
}

static void happens(void) { report("event %lld\n", (long long)now()); }

static void bad(const char *what, int code) {
  report("bad %s: %d %s\n", what, code, code < 0 ? leash_last_error() : "");
}

/* Stay until the cell has looked at everything. */
static void linger(void) {
  char byte;
  while (read(CONTROL, &byte, 1) != 0) {
  }
}

/* The same, when it ends this process. */
static void ends(void) { report("mortal\nevent %lld\n", (long long)now()); }

/* A host meets no child that it did not make itself. */
static void meet_nobody(void) {
  siginfo_t info;
  int flags = WEXITED | WNOHANG | WNOWAIT | __WALL;
  memset(&info, 0, sizeof info);
  if (waitid(P_ALL, 0, &info, flags) == 0)
    report("bad the host has a child: %d\n", (int)info.si_pid);
}

/* ---- what the host is like */

static volatile sig_atomic_t stolen;

static void steal(int signal) {
  int before = errno;
  (void)signal;
  while (waitpid(-1, NULL, WNOHANG) > 0) stolen++;
  errno = before;
}

static void nothing(int signal) { (void)signal; }

static void handle(int number, void (*handler)(int)) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  sigaction(number, &action, NULL);
}

/* Become PID 1 of a new namespace. The parent stays outside, and waits. */
static void become_first(int with_proc) {
  pid_t outside = getpid();
  pid_t pid;
  int status;
  if (unshare(CLONE_NEWPID) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS) < 0) {
    report("note SKIPPED: no PID namespace: %s\n", strerror(errno));
    happens();
    _exit(0);
  }
  pid = fork();
  if (pid > 0) {
    report("companion %d\n", (int)pid);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
  if (getpid() != 1) report("bad not PID 1 but %d\n", (int)getpid());
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (!with_proc) return;
  if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
      mount("proc", "/proc", "proc", 0, NULL) < 0)
    report("note without a /proc of its own: %s (host %d)\n", strerror(errno), (int)outside);
}

static void become_nobody(void) {
  if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
                         setresuid(NOBODY, NOBODY, NOBODY) < 0))
    report("bad cannot become nobody: %s\n", strerror(errno));
  /* Otherwise the cell could not read our environment. */
  prctl(PR_SET_DUMPABLE, 1);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void limit_descriptors(void) {
  /* 0 to 4, and what a connection takes while it is made: not one to spare. */
  struct rlimit limit = {0, 0};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = 24;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static void prepare(const char *what) {
  sigset_t all;
  if (!strcmp(what, "ignored")) {
    signal(SIGCHLD, SIG_IGN);
  } else if (!strcmp(what, "reaping")) {
    handle(SIGCHLD, steal);
  } else if (!strcmp(what, "blocked")) {
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
  } else if (!strcmp(what, "closed")) {
    close(0);
    close(1);
    close(2);
  } else if (!strcmp(what, "first")) {
    become_first(1);
  } else if (!strcmp(what, "first-elsewhere")) {
    become_first(0);
  } else if (!strcmp(what, "subreaper")) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
  } else if (!strcmp(what, "nobody")) {
    become_nobody();
  } else if (!strcmp(what, "tight")) {
    limit_descriptors();
  } else {
    report("bad no such preparation: %s\n", what);
  }
}

/* ---- connecting */

static leash_conn *connect_once(int64_t timeout, int *code) {
  leash_conn *made = NULL;
  *code = leash_connect(server, opts, timeout, &made);
  return made;
}

/* Wait until the server says `ready`. */
static void await_ready(leash_conn *c) {
  int64_t until = now() + INT64_C(20000000000);
  for (;;) {
    leash_event *e = NULL;
    int code = leash_poll(c, (until - now()) / 1000000, &e);
    int is_ready;
    if (code == LEASH_E_INTERRUPTED) continue;
    if (code <= 0) {
      bad("the server is not ready", code);
      return;
    }
    if (leash_event_kind(e) == LEASH_EVENT_STDERR)
      report("note stderr: %.200s\n", leash_event_str(e, LEASH_STR_TEXT, NULL));
    is_ready = leash_event_kind(e) == LEASH_EVENT_NOTIFY &&
               !strcmp(leash_event_str(e, LEASH_STR_METHOD, NULL), "ready");
    leash_event_free(e);
    if (is_ready) return;
  }
}

static void connect_all(void) {
  for (int i = 0; i < conn_count; i++) {
    int code;
    do {
      conns[i] = connect_once(20000, &code);
    } while (code == LEASH_E_INTERRUPTED);
    if (!conns[i]) {
      bad("cannot connect", code);
      happens();
      _exit(1);
    }
  }
  conn = conns[0];
  for (int i = 0; i < conn_count; i++) await_ready(conns[i]);
}

static void queue_megabytes(void) {
  static char params[65536];
  memset(params, 'x', sizeof params);
  memcpy(params, "[\"", 2);
  memcpy(params + sizeof params - 2, "\"]", 2);
  for (int i = 0; i < 64; i++) {
    int code = leash_notify(conn, "noise", params, sizeof params);
    if (code < 0) bad("cannot queue", code);
  }
}

static void make_call(void) {
  leash_event *e = NULL;
  int code;
  do {
    code = leash_call(conn, "ping", NULL, 0, 10000, &e);
  } while (code == LEASH_E_INTERRUPTED);
  if (code < 0) bad("a call fails", code);
  leash_event_free(e);
}

/* The connection ends by itself, soon, and says why. */
static void await_closed(void) {
  int64_t until = now() + INT64_C(5000000000);
  for (;;) {
    leash_event *e = NULL;
    int code = leash_poll(conn, (until - now()) / 1000000, &e);
    int is_closed;
    if (code <= 0) {
      bad("the connection does not end", code);
      return;
    }
    is_closed = leash_event_kind(e) == LEASH_EVENT_CLOSED;
    if (is_closed && leash_event_int(e, LEASH_INT_EXIT_CODE) != 3)
      bad("wrong exit status", (int)leash_event_int(e, LEASH_INT_EXIT_CODE));
    leash_event_free(e);
    if (is_closed) return;
  }
}

/* ---- what happens */

/* The process that started the server. */
static pid_t guard(void) {
  char path[64], text[512];
  int ppid = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", (int)leash_conn_int(conn, LEASH_INT_PID));
  FILE *file = fopen(path, "r");
  if (file && fgets(text, sizeof text, file) && strrchr(text, ')'))
    sscanf(strrchr(text, ')') + 1, " %*c %d", &ppid);
  if (file) fclose(file);
  return ppid;
}

static void wait_for_events(void) {
  for (;;) {
    leash_event *e = NULL;
    int code = leash_poll(conn, -1, &e);
    leash_event_free(e);
    if (code == LEASH_E_CLOSED) pause();
  }
}

static void *exit_in_thread(void *unused) {
  ends();
  exit(0);
  return unused;
}

static void close_all(void) {
  int64_t begin;
  happens();
  begin = now();
  for (int i = 0; i < conn_count; i++) {
    int code;
    do {
      code = leash_close(conns[i], -1);
    } while (code == LEASH_E_INTERRUPTED);
    /* Told of processes that take more than a second to die of SIGKILL, too. */
    if (code == LEASH_E_LEFT)
      report("late close: %s\n", leash_last_error());
    else if (code < 0)
      bad("close", code);
  }
  report("note close: %lld ms\n", (long long)(now() - begin) / 1000000);
}

static void fork_copies(void) {
  int status = 0;
  pid_t pid = fork();
  if (pid == 0) {
    leash_event *e = NULL;
    if (leash_poll(conn, 0, &e) != LEASH_E_FORKED) _exit(9);
    leash_free(conn);
    exit(8);
  }
  if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 8)
    report("bad the copy ended with %d\n", status);
  /* Everything was queued for good: what is torn down now is a mistake. */
  if (kill((pid_t)leash_conn_int(conn, LEASH_INT_PID), 0) < 0)
    report("bad a copy's end has ended the server\n");
  /* A copy that lives on holds nothing either. */
  pid = fork();
  if (pid == 0) {
    linger();
    _exit(0);
  }
  report("companion %d\n", (int)pid);
  ends();
  kill(getpid(), SIGKILL);
}

/* Connects that get no further than some moment, a later one each. */
static void fail_half_way(int by_signal) {
  int failed = 0;
  int64_t begin;
  if (by_signal) handle(SIGALRM, nothing);
  for (int i = 0; i < TRIES; i++) {
    struct itimerval timer = {{0, 0}, {0, 100 + 300 * i}};
    int code;
    begin = now();
    if (by_signal) setitimer(ITIMER_REAL, &timer, NULL);
    conn = connect_once(by_signal ? 20000 : i % 3 + 1, &code);
    if (!conn) {
      failed++;
      if (code != (by_signal ? LEASH_E_INTERRUPTED : LEASH_E_TIMEOUT)) bad("connect", code);
      if (now() - begin > INT64_C(1100000000)) report("late connect\n");
    }
    if (conn && i + 1 == TRIES) begin = now();
    leash_free(conn);
  }
  report("event %lld\nnote %d of %d connects failed\n", (long long)begin, failed, TRIES);
}

static void be_killed_half_way(void) {
  struct itimerval timer = {{0, 0}, {0, 100 + (now() / 1000) % 4000}};
  int code;
  report("mortal\nevent %lld\n", (long long)(now() + timer.it_value.tv_usec * 1000));
  setitimer(ITIMER_REAL, &timer, NULL);
  conn = connect_once(20000, &code);
  wait_for_events();
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The median of some connects, in microseconds. */
static double connect_time(void) {
  double times[41];
  size_t n = sizeof times / sizeof *times;
  for (size_t i = 0; i < n; i++) {
    int code;
    int64_t begin = now();
    conn = connect_once(20000, &code);
    times[i] = (double)(now() - begin) / 1e3;
    if (code < 0) bad("cannot connect", code);
    leash_free(conn);
  }
  qsort(times, n, sizeof *times, compare);
  return times[n / 2];
}

static void compare_memory(size_t bytes) {
  double small = connect_time(), large;
  char *memory = (char *)mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    report("bad no memory: %s\n", strerror(errno));
    return;
  }
  /* As a host's heap is: many pages, not a few huge ones. */
  madvise(memory, bytes, MADV_NOHUGEPAGE);
  for (size_t i = 0; i < bytes; i += 4096) memory[i] = 1;
  large = connect_time();
  report("note connect: %.0f us, with %zu MB touched %.0f us\n", small, bytes >> 20, large);
  if (large > 2 * small) report("late connect is slower in a large host\n");
}

static void happen(const char *what, char **argv, size_t bytes) {
  pthread_t thread;
  if (!strcmp(what, "close")) {
    close_all();
    meet_nobody();
    linger();
    for (int i = 0; i < conn_count; i++) leash_free(conns[i]);
  } else if (!strcmp(what, "free")) {
    happens();
    for (int i = 0; i < conn_count; i++) leash_free(conns[i]);
    meet_nobody();
    linger();
  } else if (!strcmp(what, "return")) {
    ends();
  } else if (!strcmp(what, "exit")) {
    pthread_create(&thread, NULL, exit_in_thread, NULL);
    wait_for_events();
  } else if (!strcmp(what, "abort")) {
    ends();
    abort();
  } else if (!strcmp(what, "segv")) {
    char *page = (char *)mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ends();
    *page = 1;
  } else if (!strcmp(what, "term") || !strcmp(what, "kill")) {
    report("mortal\nsignal %d\n", !strcmp(what, "term") ? SIGTERM : SIGKILL);
    wait_for_events();
  } else if (!strcmp(what, "exec")) {
    char *again[] = {argv[0], (char *)"linger", NULL};
    happens();
    execv("/proc/self/exe", again);
    bad("exec", errno);
  } else if (!strcmp(what, "fork")) {
    fork_copies();
  } else if (!strcmp(what, "guard")) {
    pid_t pid = guard();
    happens();
    if (pid < 2 || kill(pid, SIGKILL) < 0) report("bad no guard: %d\n", (int)pid);
    linger();
  } else if (!strcmp(what, "timeout") || !strcmp(what, "interrupt")) {
    fail_half_way(!strcmp(what, "interrupt"));
    meet_nobody();
    linger();
  } else if (!strcmp(what, "half-way")) {
    be_killed_half_way();
  } else if (!strcmp(what, "memory")) {
    compare_memory(bytes);
    ends();
  } else {
    report("bad no such event: %s\n", what);
  }
}

int main(int argc, char **argv) {
  int option, crash = 0, queue = 0, call = 0;
  size_t megabytes = 0;
  const char *what;
  if (argc > 1 && !strcmp(argv[1], "linger")) {
    linger();
    return 0;
  }
  while ((option = getopt(argc, argv, "+e:k:n:m:p:cqw")) != -1) {
    if (option == 'e') exit_after = atoll(optarg);
    if (option == 'k') kill_after = atoll(optarg);
    if (option == 'n') conn_count = atoi(optarg);
    if (option == 'm') megabytes = (size_t)atoll(optarg);
    if (option == 'p') prepare(optarg);
    crash |= option == 'c';
    queue |= option == 'q';
    call |= option == 'w';
  }
  if (argc - optind < 2 || conn_count > MAXIMUM) return 64;
  what = argv[optind];
  server = (const char *const *)argv + optind + 1;
  opts = leash_opts_new();
  leash_opts_set_int(opts, LEASH_OPT_EXIT_AFTER, exit_after);
  leash_opts_set_int(opts, LEASH_OPT_KILL_AFTER, kill_after);

  if (strcmp(what, "timeout") && strcmp(what, "interrupt") && strcmp(what, "half-way") &&
      strcmp(what, "memory")) {
    connect_all();
    if (call) make_call();
    if (queue) queue_megabytes();
    if (crash) {
      int code = leash_notify(conn, "crash", NULL, 0);
      if (code < 0) bad("cannot notify", code);
      if (!strcmp(what, "close")) await_closed();
    }
  }
  happen(what, argv, megabytes << 20);
  return 0;
}
