/* The floor by WebSocket: one frame was made before, and is sent again and again. */
#ifndef PLAIN_WS_H
#define PLAIN_WS_H

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "plain.h"

/* The server, and where it listens. */
struct listener {
  pid_t pid;
  int in, port;
  char url[64];
};

static inline struct listener listener_start(char **server) {
  struct listener l = {0, 0, 0, ""};
  int in[2], out[2];
  posix_spawn_file_actions_t actions;
  if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0) fail("pipe2");
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  if ((errno = posix_spawn(&l.pid, server[0], &actions, NULL, server, environ)) != 0)
    fail("posix_spawn");
  posix_spawn_file_actions_destroy(&actions);
  close(in[0]), close(out[1]);
  l.in = in[1];
  ssize_t n = read(out[0], l.url, sizeof l.url - 1);
  close(out[0]);
  if (n <= 0) fail("the server did not start");
  l.url[strcspn(l.url, "\n")] = 0;
  l.port = atoi(strrchr(l.url, ':') + 1);
  return l;
}

static inline void listener_end(struct listener *l) {
  close(l->in);
  if (waitpid(l->pid, NULL, 0) != l->pid) fail("waitpid");
}

static inline int plain_ws_open(const struct listener *l) {
  static const char request[] =
      "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)l->port),
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  char answer[512];
  size_t held = 0;
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (write(fd, request, sizeof request - 1) < 0) fail("write");
  do {
    ssize_t n = read(fd, answer + held, sizeof answer - held);
    if (n <= 0) fail("the upgrade");
    held += (size_t)n;
  } while (!memmem(answer, held, "\r\n\r\n", 4));
  return fd;
}

/* A masked text frame of under 126 bytes. Its length. */
static inline size_t plain_ws_frame(const char *text, char *frame) {
  static const char mask[4] = {'l', 'e', 'a', 's'};
  size_t length = strlen(text);
  frame[0] = (char)0x81, frame[1] = (char)(0x80 | length);
  memcpy(frame + 2, mask, 4);
  for (size_t i = 0; i < length; i++) frame[6 + i] = text[i] ^ mask[i % 4];
  return length + 6;
}

/* Send one frame, and read the one that answers. */
static inline void plain_ws_echo(int fd, const char *frame, size_t length) {
  unsigned char answer[256];
  size_t held = 0;
  if (write(fd, frame, length) != (ssize_t)length) fail("write");
  do {
    ssize_t n = read(fd, answer + held, sizeof answer - held);
    if (n <= 0) fail("read");
    held += (size_t)n;
  } while (held < 2 || held < (size_t)answer[1] + 2);
}

#endif
