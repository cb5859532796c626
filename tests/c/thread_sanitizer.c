/* What ThreadSanitizer does not know of Linux. .ci/sanitizers links it into the library, and
 * into Rust's programs. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

int __interceptor_clone(int (*)(void *), void *, int, void *, int *, void *, int *);
int __interceptor_dup3(int, int, int);

/* It takes each clone(2) for a fork, and one that shares memory changes its notes of the
 * thread that is suspended meanwhile: make it a fork. The library knows that systems do that. */
int clone(int (*run)(void *), void *stack, int flags, void *arg, ...) {
  return __interceptor_clone(run, stack, flags & ~CLONE_VM, arg, NULL, NULL, NULL);
}

/* It does not see that a descriptor was copied, so that what tokio tells an epoll by its copy
 * seems to have nothing to do with what it hears of it by the first one. The same copy again,
 * in a way that it sees. */
int fcntl(int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  long argument = va_arg(rest, long);
  va_end(rest);
  int result = (int)syscall(SYS_fcntl, fd, command, argument);
  if (result >= 0 && command == F_DUPFD_CLOEXEC) __interceptor_dup3(fd, result, O_CLOEXEC);
  return result;
}
