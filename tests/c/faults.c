/* A machine on which one thing fails. The program defines the C library's functions that
 * libleash, tokio and Rust's standard library call, so that the n-th call of one can fail
 * (symbol resolution: ld.so(8); what an executable defines comes first). Nothing of the
 * library is changed for that, and the server is not affected.
 *
 * Each point runs in a copy of a process that has not used the library yet. The first
 * connection meets the fault: it works, or says why not, in time, with nothing left over. The
 * second works. */
#include "check.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

/* ---- what fails */

enum call {
  PIPE2, SOCKETPAIR, EVENTFD, EPOLL_CREATE, EPOLL_CTL, EPOLL_WAIT, FCNTL, OPEN, READ, WRITE, POLL,
  RECVMSG, RECV, SEND, CLONE, MMAP, MPROTECT, THREAD, ATFORK, WAIT, RANDOM, SOCKET, CONNECT,
  SOCKOPT, SYS_MEMFD, SYS_PIDFD, SYS_EXECVEAT, SYS_CLOSE_RANGE, SYS_DUP, SYS_SIGNAL, CALLS
};

/* Instead of an error: half of what was asked for. */
#define SHORT (-1)

struct fault {
  enum call call;
  const char *name;
  int error;
  /* A TCP socket that does not wait is never interrupted, and short only when it is full,
   * which epoll tells when it ends: it cannot do this. */
  int not_by_tcp;
};

/* Per call what its manual page says of a machine that is out of something, or interrupted. */
static const struct fault faults[] = {
  { PIPE2, "pipe2", EMFILE, 0 }, { PIPE2, "pipe2", ENFILE, 0 },
  { SOCKETPAIR, "socketpair", EMFILE, 0 }, { SOCKETPAIR, "socketpair", ENOBUFS, 0 },
  { EVENTFD, "eventfd", EMFILE, 0 }, { EVENTFD, "eventfd", ENOMEM, 0 },
  { EPOLL_CREATE, "epoll_create1", EMFILE, 0 }, { EPOLL_CREATE, "epoll_create1", ENOMEM, 0 },
  { EPOLL_CTL, "epoll_ctl", ENOMEM, 0 }, { EPOLL_CTL, "epoll_ctl", ENOSPC, 0 },
  { EPOLL_WAIT, "epoll_wait", EINTR, 0 }, { FCNTL, "fcntl", EMFILE, 0 },
  { OPEN, "open", EMFILE, 0 }, { OPEN, "open", EACCES, 0 }, { READ, "read", EINTR, 0 },
  { READ, "read", EAGAIN, 0 }, { READ, "read", SHORT, 0 }, { WRITE, "write", EINTR, 0 },
  { WRITE, "write", EAGAIN, 0 }, { WRITE, "write", EPIPE, 0 },
  { WRITE, "write", EOPNOTSUPP, 0 }, { WRITE, "write", SHORT, 0 }, { POLL, "poll", EINTR, 0 },
  { POLL, "poll", ENOMEM, 0 }, { RECVMSG, "recvmsg", EINTR, 0 },
  { RECVMSG, "recvmsg", EAGAIN, 0 }, { RECVMSG, "recvmsg", ECONNRESET, 0 },
  { RECV, "recv", EINTR, 1 }, { RECV, "recv", ENOMEM, 0 }, { RECV, "recv", SHORT, 1 },
  { SEND, "send", EINTR, 1 }, { SEND, "send", EAGAIN, 1 }, { SEND, "send", ENOBUFS, 0 },
  { SEND, "send", SHORT, 1 }, { CLONE, "clone", EAGAIN, 0 }, { CLONE, "clone", ENOMEM, 0 },
  { MMAP, "mmap", ENOMEM, 0 }, { MPROTECT, "mprotect", ENOMEM, 0 },
  { THREAD, "pthread_create", EAGAIN, 0 }, { ATFORK, "pthread_atfork", ENOMEM, 0 },
  { WAIT, "waitpid, waitid", EINTR, 0 }, { WAIT, "waitpid, waitid", ECHILD, 0 },
  { RANDOM, "getrandom", ENOSYS, 0 }, { SOCKET, "socket", EMFILE, 0 },
  { SOCKET, "socket", ENOBUFS, 0 }, { CONNECT, "connect", ECONNREFUSED, 0 },
  { CONNECT, "connect", ENETUNREACH, 0 }, { SOCKOPT, "setsockopt", ENOMEM, 0 },
  { SYS_MEMFD, "memfd_create", EMFILE, 0 }, { SYS_MEMFD, "memfd_create", ENOSYS, 0 },
  { SYS_MEMFD, "memfd_create", EPERM, 0 }, { SYS_PIDFD, "pidfd_open", EMFILE, 0 },
  { SYS_PIDFD, "pidfd_open", ENOSYS, 0 }, { SYS_EXECVEAT, "execveat", EACCES, 0 },
  { SYS_EXECVEAT, "execveat", ENOMEM, 0 }, { SYS_CLOSE_RANGE, "close_range", ENOSYS, 0 },
  { SYS_DUP, "dup3", EMFILE, 0 }, { SYS_SIGNAL, "pidfd_send_signal", EPERM, 0 }
};
#define FAULTS (sizeof faults / sizeof faults[0])

static struct {
  int is_armed, error;
  enum call call;
  /* Which one fails; how many came so far. */
  int64_t at, count;
} armed;

static int64_t counts[CALLS];

/* Whether this is the one. Async-signal-safe: it runs between clone and exec, too. */
static int strikes(enum call call) {
  if (!armed.is_armed) return 0;
  __atomic_add_fetch(&counts[call], 1, __ATOMIC_SEQ_CST);
  if (call != armed.call) return 0;
  int64_t count = __atomic_add_fetch(&armed.count, 1, __ATOMIC_SEQ_CST);
  if (call == RANDOM ? count < armed.at : count != armed.at) return 0;
  if (armed.error != SHORT) errno = armed.error;
  return 1;
}

#define FAILS(call) (strikes(call) && armed.error != SHORT)

/* The C library's own. Found before main: between clone and exec nothing may be looked up. */
#define REAL(result, name, ...)                  \
  typedef result (*name##_type)(__VA_ARGS__);    \
  static name##_type real_##name
REAL(int, pipe2, int *, int);
REAL(int, socketpair, int, int, int, int *);
REAL(int, eventfd, unsigned, int);
REAL(int, epoll_create1, int);
REAL(int, epoll_ctl, int, int, int, struct epoll_event *);
REAL(int, epoll_wait, int, struct epoll_event *, int, int);
REAL(int, fcntl, int, int, long);
REAL(int, open64, const char *, int, unsigned);
REAL(ssize_t, read, int, void *, size_t);
REAL(ssize_t, write, int, const void *, size_t);
REAL(ssize_t, writev, int, const struct iovec *, int);
REAL(int, poll, struct pollfd *, nfds_t, int);
REAL(ssize_t, recvmsg, int, struct msghdr *, int);
REAL(ssize_t, recv, int, void *, size_t, int);
REAL(ssize_t, send, int, const void *, size_t, int);
REAL(int, clone, int (*)(void *), void *, int, void *);
REAL(void *, mmap, void *, size_t, int, int, int, off_t);
REAL(int, mprotect, void *, size_t, int);
REAL(int, pthread_create, pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
REAL(int, __register_atfork, void (*)(void), void (*)(void), void (*)(void), void *);
REAL(pid_t, waitpid, pid_t, int *, int);
REAL(int, waitid, idtype_t, id_t, siginfo_t *, int);
REAL(ssize_t, getrandom, void *, size_t, unsigned);
REAL(int, socket, int, int, int);
REAL(int, connect, int, const struct sockaddr *, socklen_t);
REAL(int, setsockopt, int, int, int, const void *, socklen_t);
REAL(long, syscall, long, long, long, long, long, long, long);

#define FIND(name) *(void **)&real_##name = dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void find(void) {
  FIND(pipe2); FIND(socketpair); FIND(eventfd); FIND(epoll_create1); FIND(epoll_ctl);
  FIND(epoll_wait); FIND(fcntl); FIND(open64); FIND(read); FIND(write); FIND(writev);
  FIND(poll); FIND(recvmsg); FIND(recv); FIND(send); FIND(clone); FIND(mmap);
  FIND(mprotect); FIND(pthread_create); FIND(__register_atfork); FIND(waitpid); FIND(waitid);
  FIND(getrandom); FIND(socket); FIND(connect); FIND(setsockopt); FIND(syscall);
}

int pipe2(int fds[2], int flags) { return FAILS(PIPE2) ? -1 : real_pipe2(fds, flags); }

int socketpair(int domain, int type, int protocol, int fds[2]) {
  return FAILS(SOCKETPAIR) ? -1 : real_socketpair(domain, type, protocol, fds);
}

int eventfd(unsigned value, int flags) { return FAILS(EVENTFD) ? -1 : real_eventfd(value, flags); }
int epoll_create1(int flags) { return FAILS(EPOLL_CREATE) ? -1 : real_epoll_create1(flags); }

int epoll_ctl(int set, int what, int fd, struct epoll_event *event) {
  /* A removal needs no memory. */
  if (what != EPOLL_CTL_DEL && FAILS(EPOLL_CTL)) return -1;
  return real_epoll_ctl(set, what, fd, event);
}

int epoll_wait(int set, struct epoll_event *events, int max, int timeout) {
  return FAILS(EPOLL_WAIT) ? -1 : real_epoll_wait(set, events, max, timeout);
}

int fcntl(int fd, int what, ...) {
  va_list list;
  va_start(list, what);
  long value = va_arg(list, long);
  va_end(list);
  if (what == F_DUPFD_CLOEXEC && FAILS(FCNTL)) return -1;
  return real_fcntl(fd, what, value);
}

int open64(const char *path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  unsigned mode = va_arg(list, unsigned);
  va_end(list);
  return FAILS(OPEN) ? -1 : real_open64(path, flags, mode);
}

/* Eight bytes are an eventfd's, which is neither short nor interrupted: eventfd(2). */
#define IS_BELL(size) ((size) == 8)

ssize_t read(int fd, void *to, size_t size) {
  if (IS_BELL(size) || !strikes(READ)) return real_read(fd, to, size);
  return armed.error == SHORT ? real_read(fd, to, size > 1 ? size / 2 : size) : -1;
}

ssize_t write(int fd, const void *from, size_t size) {
  if (IS_BELL(size) || !strikes(WRITE)) return real_write(fd, from, size);
  return armed.error == SHORT ? real_write(fd, from, size > 1 ? size / 2 : size) : -1;
}

static ssize_t write_half(int fd, const struct iovec *parts) {
  return real_write(fd, parts->iov_base, parts->iov_len > 1 ? parts->iov_len / 2 : parts->iov_len);
}

ssize_t writev(int fd, const struct iovec *parts, int n) {
  if (!strikes(WRITE)) return real_writev(fd, parts, n);
  return armed.error == SHORT ? write_half(fd, parts) : -1;
}

int poll(struct pollfd *set, nfds_t n, int timeout) {
  return FAILS(POLL) ? -1 : real_poll(set, n, timeout);
}

ssize_t recvmsg(int fd, struct msghdr *header, int flags) {
  return FAILS(RECVMSG) ? -1 : real_recvmsg(fd, header, flags);
}

ssize_t recv(int fd, void *to, size_t size, int flags) {
  if (!strikes(RECV)) return real_recv(fd, to, size, flags);
  /* A peek looks at whole messages. */
  int is_whole = size < 2 || flags & MSG_PEEK;
  return armed.error == SHORT ? real_recv(fd, to, is_whole ? size : size / 2, flags) : -1;
}

ssize_t send(int fd, const void *from, size_t size, int flags) {
  if (!strikes(SEND)) return real_send(fd, from, size, flags);
  return armed.error == SHORT ? real_send(fd, from, size > 1 ? size / 2 : size, flags) : -1;
}

int clone(int (*run)(void *), void *stack, int flags, void *arg, ...) {
  return FAILS(CLONE) ? -1 : real_clone(run, stack, flags, arg);
}

void *mmap(void *at, size_t size, int access, int flags, int fd, off_t from) {
  /* What the loader and the allocator map does not come through here. */
  return FAILS(MMAP) ? MAP_FAILED : real_mmap(at, size, access, flags, fd, from);
}

int mprotect(void *at, size_t size, int access) {
  return FAILS(MPROTECT) ? -1 : real_mprotect(at, size, access);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *arg) {
  return FAILS(THREAD) ? armed.error : real_pthread_create(thread, how, run, arg);
}

int __register_atfork(void (*a)(void), void (*b)(void), void (*c)(void), void *dso) {
  return FAILS(ATFORK) ? armed.error : real___register_atfork(a, b, c, dso);
}

/* ECHILD: another thread of the host waits for everything, and was faster. */
pid_t waitpid(pid_t pid, int *status, int flags) {
  if (!FAILS(WAIT)) return real_waitpid(pid, status, flags);
  if (armed.error == ECHILD) real_waitpid(pid, status, flags);
  errno = armed.error;
  return -1;
}

int waitid(idtype_t type, id_t id, siginfo_t *info, int flags) {
  if (!FAILS(WAIT)) return real_waitid(type, id, info, flags);
  if (armed.error == ECHILD) real_waitid(type, id, info, flags);
  errno = armed.error;
  return -1;
}

ssize_t getrandom(void *to, size_t size, unsigned flags) {
  return FAILS(RANDOM) ? -1 : real_getrandom(to, size, flags);
}

int socket(int domain, int type, int protocol) {
  return FAILS(SOCKET) ? -1 : real_socket(domain, type, protocol);
}

int connect(int fd, __CONST_SOCKADDR_ARG to, socklen_t size) {
  return FAILS(CONNECT) ? -1 : real_connect(fd, to.__sockaddr__, size);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t size) {
  return FAILS(SOCKOPT) ? -1 : real_setsockopt(fd, level, name, value, size);
}

long syscall(long number, ...) {
  long a[6];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
  va_end(list);
  int fails = 0;
  switch (number) {
  /* As libleash reads and writes its pipes. */
  case SYS_read: return read((int)a[0], (void *)a[1], (size_t)a[2]);
  case SYS_pwritev2:
    if (!strikes(WRITE)) break;
    return armed.error == SHORT ? write_half((int)a[0], (const struct iovec *)a[1]) : -1;
  case SYS_memfd_create: fails = FAILS(SYS_MEMFD); break;
  case SYS_pidfd_open: fails = FAILS(SYS_PIDFD); break;
  case SYS_execveat: fails = FAILS(SYS_EXECVEAT); break;
  case SYS_close_range: fails = FAILS(SYS_CLOSE_RANGE); break;
  case SYS_dup3: fails = FAILS(SYS_DUP); break;
  case SYS_pidfd_send_signal: fails = FAILS(SYS_SIGNAL); break;
  default: break;
  }
  return fails ? -1 : real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- what the host does */

static char **server;
static const char *url;

/* A result that leash.h names, with a text; and no text tells the token. */
static int told(int code) {
  CHECK(code >= LEASH_E_LEFT && code != LEASH_E_INTERNAL && code != LEASH_E_FORKED);
  if (code < 0) {
    CHECK(leash_last_error()[0] != '\0');
    CHECK(!strstr(leash_last_error(), "hunter2"));
  }
  return code;
}

static leash_conn *connect_once(void) {
  leash_opts *opts = leash_opts_new();
  const char *const env[] = { "TOKEN=hunter2" };
  if (!opts) {
    CHECK(leash_last_error()[0] != '\0');
    return NULL;
  }
  CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_EXIT_AFTER, 5000), 0);
  if (url) CHECK_INT(leash_opts_set_str(opts, LEASH_OPT_URL, url), 0);
  else CHECK_INT(leash_opts_set_list(opts, LEASH_OPT_ENV, env, 1), 0);
  if (url) CHECK_INT(leash_opts_set_str(opts, LEASH_OPT_BEARER, "hunter2"), 0);
  leash_conn *c = NULL;
  int code = told(leash_connect(url ? NULL : (const char *const *)server, opts, 10000, &c));
  leash_opts_free(opts);
  CHECK_INT(c != NULL, code == 0);
  if (c) return c;
  CHECK(code == LEASH_E_CONNECT || code == LEASH_E_TIMEOUT || code == LEASH_E_NO_MEMORY ||
        code == LEASH_E_INTERRUPTED);
  return NULL;
}

struct ledger {
  int submitted, answered, notified, is_over, closed_well;
};

static void take(struct ledger *l, leash_event *e) {
  int kind = leash_event_kind(e);
  const char *said = leash_event_str(e, LEASH_STR_TEXT, NULL);
  CHECK(!said || !strstr(said, "hunter2"));
  if (kind == LEASH_EVENT_REQUEST) told(leash_reply(e, "[1]", LEASH_NUL));
  l->answered += kind == LEASH_EVENT_RESPONSE;
  l->notified += kind == LEASH_EVENT_NOTIFY;
  if (kind == LEASH_EVENT_CLOSED) {
    l->is_over = 1;
    int64_t left = leash_event_int(e, LEASH_INT_LEFT);
    CHECK(left <= 0);
    l->closed_well = leash_event_int(e, LEASH_INT_STATUS) == 0;
  }
  leash_event_free(e);
}

/* Take events until there are so many of what is counted. */
static void take_until(leash_conn *c, struct ledger *l, const int *counter, int wanted) {
  leash_event *e = NULL;
  while (*counter < wanted && !l->is_over) {
    int n = told(leash_poll(c, 10000, &e));
    if (n == 1) take(l, e);
    else if (n == 0) failed(__FILE__, __LINE__, "nothing came");
    else CHECK(n == LEASH_E_INTERRUPTED || n == LEASH_E_NO_MEMORY);
  }
}

static void submits(leash_conn *c, struct ledger *l, const char *params) {
  int64_t id = 0;
  l->submitted += told(leash_submit(c, "x", params, LEASH_NUL, 10000, 0, &id)) == 0;
}

/* All that a connection does, and how often. Whether nothing of it failed. */
static int session(void) {
  static char big[100001];
  struct ledger l = { 0, 0, 0, 0, 0 };
  leash_conn *c = connect_once();
  leash_event *e = NULL;
  int n, good = 1;
  if (!c) return 0;
  /* More than a pipe holds: a part of it waits for the runtime. */
  memset(big, ' ', sizeof big - 1);
  big[0] = '[';
  big[sizeof big - 2] = ']';
  /* The server on stdio asks first, and tells that it was answered. */
  if (!url) take_until(c, &l, &l.notified, 2);
  submits(c, &l, "[1]");
  submits(c, &l, big);
  for (int i = 0; i < 3; i++) {
    n = told(leash_call(c, "x", i == 1 ? big : "[2]", LEASH_NUL, 10000, &e));
    CHECK_INT(e != NULL, n == 0);
    good = good && n == 0;
    leash_event_free(e);
    e = NULL;
  }
  if (leash_fd(c) < 0) good = 0;
  good = told(leash_notify(c, "x", "{}", LEASH_NUL)) == 0 && good;
  submits(c, &l, "[3]");
  take_until(c, &l, &l.answered, l.submitted);
  while ((n = told(leash_close(c, 20000))) != 0)
    CHECK(n == LEASH_E_INTERRUPTED || n == LEASH_E_NO_MEMORY);
  take_until(c, &l, &l.is_over, 1);
  CHECK_INT(l.answered, l.submitted);
  leash_free(c);
  return good && l.submitted == 3 && l.closed_well;
}

struct report {
  int64_t counts[CALLS];
  int descriptors, threads, good;
};

/* One process: a session with the fault, one without, and what is left of both. */
static struct report once(const struct fault *fault, int64_t at) {
  struct report report;
  int before = entries("/proc/self/fd");
  memset(&report, 0, sizeof report);
  if (fault) armed.call = fault->call, armed.error = fault->error, armed.at = at;
  armed.is_armed = 1;
  report.good = session();
  armed.is_armed = 0;
  memcpy(report.counts, counts, sizeof counts);
  CHECK(session());
  report.descriptors = entries("/proc/self/fd") - before;
  report.threads = entries("/proc/self/task");
  int status;
  CHECK_INT(waitpid(-1, &status, WNOHANG | __WALL), -1);
  CHECK_INT(errno, ECHILD);
  return report;
}

/* The same in a copy of this process; 0: it failed, and has said why. */
static int in_a_copy(const struct fault *fault, int64_t at, struct report *report) {
  int ends[2], status = -1;
  CHECK_INT(pipe(ends), 0);
  fflush(NULL);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(50);
    *report = once(fault, at);
    CHECK(real_write(ends[1], report, sizeof *report) == (ssize_t)sizeof *report);
    _exit(0);
  }
  close(ends[1]);
  ssize_t got = read(ends[0], report, sizeof *report);
  close(ends[0]);
  CHECK_INT(real_waitpid(child, &status, 0), child);
  return got == (ssize_t)sizeof *report && status == 0;
}

static void each_point(char **argv) {
  const char *limit = getenv("POINTS");
  int64_t most = limit ? atoll(limit) : INT64_MAX, points = 0, bad = 0, failures = 0;
  struct report usual, report;
  server = argv;
  url = getenv("URL");
  CHECK(in_a_copy(NULL, 0, &usual));
  CHECK(usual.good);
  printf("a session leaves %d descriptors and %d threads\n", usual.descriptors, usual.threads);
  for (size_t i = 0; i < FAULTS; i++) {
    const struct fault *fault = &faults[i];
    int64_t calls = usual.counts[fault->call], here = 0, hurt = 0;
    if (url && fault->not_by_tcp) continue;
    /* A kernel has it or not. */
    if (fault->call == RANDOM) calls = 1;
    for (int64_t at = 1; at <= calls && at <= most; at++) {
      int ok = in_a_copy(fault, at, &report);
      here++;
      hurt += ok && !report.good;
      /* Without getrandom the standard library and the TLS one open /dev/urandom, once. */
      int more = fault->call == RANDOM ? report.descriptors - usual.descriptors : 0;
      if (ok && more >= 0 && more <= 2 && report.descriptors == usual.descriptors + more &&
          report.threads == usual.threads)
        continue;
      bad++;
      printf("BAD: %s number %lld fails with %s: %s, %d descriptors, %d threads\n", fault->name,
             (long long)at, fault->error == SHORT ? "half" : strerror(fault->error),
             ok ? "left over" : "broken", report.descriptors, report.threads);
    }
    if (here) printf("%s, %s: %lld points, %lld were errors of the session\n", fault->name,
                     fault->error == SHORT ? "half" : strerror(fault->error), (long long)here,
                     (long long)hurt);
    points += here;
    failures += hurt;
  }
  printf("%lld points, %lld of them told as errors, %lld bad\n", (long long)points,
         (long long)failures, (long long)bad);
  CHECK_INT(bad, 0);
}

static const struct scenario all[] = { SCENARIO(each_point) };
MAIN(all)
