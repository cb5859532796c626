/* The floor: what a C program would do that knows its server, checks nothing, keeps nothing
 * and never gives up. It blocks in read and write, and has no other thread unless said. */
#ifndef PLAIN_H
#define PLAIN_H

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

struct plain {
  pid_t pid;
  int in, out, err;
  char *buffer; /* one for all messages, as long as the longest */
  size_t room;
};

static inline void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

/* Nanoseconds. */
static inline uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline struct plain plain_start(char **server, size_t room) {
  struct plain p = {0, 0, 0, 0, NULL, room};
  int in[2], out[2], err[2];
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
    fail("pipe2");
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  posix_spawnattr_init(&attributes);
  if (getenv("LEASH_BENCH_SESSION")) posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  if ((errno = posix_spawn(&p.pid, server[0], &actions, &attributes, server, environ)) != 0)
    fail("posix_spawn");
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(in[0]), close(out[1]), close(err[1]);
  p.in = in[1], p.out = out[0], p.err = err[0];
  if (!(p.buffer = malloc(room))) fail("malloc");
  return p;
}

static inline void plain_end(struct plain *p) {
  close(p->in);
  if (waitpid(p->pid, NULL, 0) != p->pid) fail("waitpid");
  close(p->out), close(p->err);
  free(p->buffer);
}

static inline void plain_send(const struct plain *p, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t n = write(p->in, bytes, length);
    if (n < 0) fail("write");
    bytes += n, length -= (size_t)n;
  }
}

/* Three parts, so that a large one is not copied. */
static inline void plain_sendv(const struct plain *p, const char *head, const char *body,
                               size_t length, const char *tail) {
  struct iovec parts[3] = {
      {(char *)head, strlen(head)}, {(char *)body, length}, {(char *)tail, strlen(tail)}};
  struct iovec *part = parts;
  while (part < parts + 3) {
    ssize_t n = writev(p->in, part, (int)(parts + 3 - part));
    if (n < 0) fail("writev");
    for (; part < parts + 3 && (size_t)n >= part->iov_len; part++) n -= (ssize_t)part->iov_len;
    if (part < parts + 3) {
      part->iov_base = (char *)part->iov_base + n;
      part->iov_len -= (size_t)n;
    }
  }
}

/* Read up to the end of one line, the last thing that the server has said. */
static inline size_t plain_line(struct plain *p) {
  size_t length = 0;
  do {
    if (length == p->room) fail("a line is too long");
    ssize_t n = read(p->out, p->buffer + length, p->room - length);
    if (n <= 0) fail("read");
    length += (size_t)n;
  } while (p->buffer[length - 1] != '\n');
  return length;
}

/* Read until so many lines have come. */
static inline void plain_lines(struct plain *p, size_t wanted) {
  while (wanted > 0) {
    ssize_t n = read(p->out, p->buffer, p->room);
    if (n <= 0) fail("read");
    const char *at = p->buffer, *end = p->buffer + n;
    while ((at = memchr(at, '\n', (size_t)(end - at)))) at++, wanted--;
  }
}

#endif
