/* Loaded before everything else (LD_PRELOAD): counts what the process allocates and what it
 * asks the kernel for, in all threads, without slowing it down. Of the system calls those
 * that a client uses. The C library's own, inside of it, are not seen: a lock that is
 * contended, a clock that is no system call anyway. */
#include <dlfcn.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static unsigned long allocations, calls;

unsigned long count_allocations(void) { return __atomic_load_n(&allocations, __ATOMIC_RELAXED); }
unsigned long count_calls(void) { return __atomic_load_n(&calls, __ATOMIC_RELAXED); }

static void one(unsigned long *counter) { __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED); }

void *malloc(size_t size) {
  one(&allocations);
  return __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
  one(&allocations);
  return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size) {
  one(&allocations);
  return __libc_realloc(old, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
  one(&allocations);
  return (*out = __libc_memalign(alignment, size)) ? 0 : 12;
}

#define FORWARD(result, name, parameters, ...)              \
  result name parameters {                                  \
    static result(*real) parameters;                        \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);   \
    one(&calls);                                            \
    return real(__VA_ARGS__);                               \
  }

FORWARD(ssize_t, read, (int fd, void *to, size_t n), fd, to, n)
FORWARD(ssize_t, write, (int fd, const void *from, size_t n), fd, from, n)
FORWARD(ssize_t, readv, (int fd, const struct iovec *v, int n), fd, v, n)
FORWARD(ssize_t, writev, (int fd, const struct iovec *v, int n), fd, v, n)
FORWARD(ssize_t, pwritev2, (int fd, const struct iovec *v, int n, off_t at, int f), fd, v, n, at, f)
FORWARD(int, poll, (struct pollfd *fds, nfds_t n, int limit), fds, n, limit)
FORWARD(int, ppoll, (struct pollfd *fds, nfds_t n, const struct timespec *t, const sigset_t *s), fds, n, t, s)
FORWARD(int, epoll_wait, (int fd, struct epoll_event *e, int n, int limit), fd, e, n, limit)
FORWARD(int, epoll_ctl, (int fd, int op, int other, struct epoll_event *e), fd, op, other, e)
FORWARD(int, sched_yield, (void), )
FORWARD(int, pthread_sigmask, (int how, const sigset_t *s, sigset_t *old), how, s, old)
FORWARD(int, sigpending, (sigset_t *s), s)

/* Locks in Rust come this way. */
long syscall(long number, ...) {
  static long (*real)(long, ...);
  long a[6];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
  va_end(list);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "syscall");
  one(&calls);
  return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
