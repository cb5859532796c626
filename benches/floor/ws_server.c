/* The same by WebSocket (RFC 6455), as little of it as the benches need:
 *
 *   ws_server     prints ws://127.0.0.1:PORT, and serves until its stdin ends
 *
 * One thread, any number of connections. A text frame is one request, masked, whole, and under
 * 64 KB; its answer is {}. Answers to what came in one read go out in one write. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 1 << 17, PEERS = 4096 };

struct peer {
  int fd, is_open;
  size_t held;
  unsigned char *in;
};

static struct peer peers[PEERS];
static unsigned char out[2 * ROOM];

static uint32_t rotate(uint32_t word, int bits) { return word << bits | word >> (32 - bits); }

static void sha1_block(uint32_t state[5], const unsigned char *block) {
  uint32_t w[80], s[5];
  memcpy(s, state, sizeof s);
  for (int i = 0; i < 16; i++)
    w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
           (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
  for (int i = 16; i < 80; i++) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  for (int i = 0; i < 80; i++) {
    static const uint32_t k[] = {0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6};
    uint32_t f = i < 20   ? (s[1] & s[2]) | (~s[1] & s[3])
                 : i < 40 ? s[1] ^ s[2] ^ s[3]
                 : i < 60 ? (s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3])
                          : s[1] ^ s[2] ^ s[3];
    uint32_t next = rotate(s[0], 5) + f + s[4] + k[i / 20] + w[i];
    s[4] = s[3], s[3] = s[2], s[2] = rotate(s[1], 30), s[1] = s[0], s[0] = next;
  }
  for (int i = 0; i < 5; i++) state[i] += s[i];
}

/* Of a text of 60 bytes: a key with its suffix (RFC 6455, section 4.2.2). */
static void sha1(const char *text, unsigned char digest[20]) {
  uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
  unsigned char blocks[128] = {0};
  memcpy(blocks, text, 60);
  blocks[60] = 0x80;
  blocks[126] = 60 * 8 >> 8, blocks[127] = 60 * 8 & 0xFF;
  sha1_block(state, blocks), sha1_block(state, blocks + 64);
  for (int i = 0; i < 20; i++) digest[i] = (unsigned char)(state[i / 4] >> (24 - i % 4 * 8));
}

static void base64(const unsigned char *bytes, size_t n, char *text) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < n; i += 3) {
    uint32_t three = (uint32_t)bytes[i] << 16 | (i + 1 < n ? (uint32_t)bytes[i + 1] << 8 : 0) |
                     (i + 2 < n ? bytes[i + 2] : 0);
    for (int k = 0; k < 4; k++) *text++ = i + (size_t)k <= n ? digits[three >> (18 - 6 * k) & 63] : '=';
  }
  *text = 0;
}

static void write_all(int fd, const void *bytes, size_t length) {
  for (const char *at = bytes; length > 0;) {
    ssize_t n = send(fd, at, length, MSG_NOSIGNAL);
    if (n < 0) return; /* its end comes by read */
    at += n, length -= (size_t)n;
  }
}

/* How many bytes of the upgrade were used; 0: it is not whole yet. */
static size_t upgrade(struct peer *peer) {
  const char *request = (const char *)peer->in;
  const char *end = memmem(request, peer->held, "\r\n\r\n", 4), *at = request;
  if (!end) return 0;
  while (at < end && strncasecmp(at, "Sec-WebSocket-Key:", 18) != 0) at++;
  if (at == end) exit(1);
  at += 18;
  while (*at == ' ') at++;
  char key[61], accept[32], head[256];
  unsigned char digest[20];
  sprintf(key, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", at);
  sha1(key, digest);
  base64(digest, sizeof digest, accept);
  int n = sprintf(head, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
  write_all(peer->fd, head, (size_t)n);
  peer->is_open = 1;
  return (size_t)(end + 4 - request);
}

/* How many bytes of the frame ahead were used; 0: it is not whole yet. Its answer is added
 * to `out`. */
static size_t frame(unsigned char *in, size_t length, size_t *held) {
  if (length < 8) return 0;
  size_t size = in[1] & 0x7F, head = 2;
  if (size == 127 || !(in[1] & 0x80)) exit(1);
  if (size == 126) size = (size_t)in[2] << 8 | in[3], head = 4;
  unsigned char *mask = in + head, *text = mask + 4;
  if (length < head + 4 + size) return 0;
  for (size_t i = 0; i < size; i++) text[i] ^= mask[i % 4];
  unsigned char *answer = out + *held;
  if (in[0] == 0x88) { /* a close is answered by one */
    memcpy(answer, "\x88\x00", 2);
    *held += 2;
  } else if (in[0] == 0x81) {
    const char *id = memmem(text, size, "\"id\":", 5);
    if (!id) exit(1);
    for (id += 5; *id == ' ';) id++;
    int n = sprintf((char *)answer + 2, "{\"jsonrpc\":\"2.0\",\"id\":%lu,\"result\":{}}",
                    strtoul(id, NULL, 10));
    answer[0] = 0x81, answer[1] = (unsigned char)n;
    *held += (size_t)n + 2;
  } else if (in[0] != 0x8A) {
    exit(1);
  }
  return head + 4 + size;
}

/* 0: it has ended. */
static int serve(struct peer *peer) {
  ssize_t n = read(peer->fd, peer->in + peer->held, ROOM - peer->held);
  if (n <= 0) return 0;
  peer->held += (size_t)n;
  size_t from = peer->is_open ? 0 : upgrade(peer), used, held = 0;
  while (peer->is_open && (used = frame(peer->in + from, peer->held - from, &held)) > 0) from += used;
  if (held) write_all(peer->fd, out, held);
  memmove(peer->in, peer->in + from, peer->held -= from);
  return 1;
}

static void take(int listener, int epoll) {
  int fd = accept(listener, NULL, NULL), one = 1;
  if (fd < 0 || fd >= PEERS) exit(1);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  peers[fd].fd = fd, peers[fd].is_open = 0, peers[fd].held = 0;
  if (!peers[fd].in && !(peers[fd].in = malloc(ROOM))) exit(1);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

int main(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), epoll = epoll_create1(0);
  if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 1024) < 0) return 1;
  getsockname(listener, (struct sockaddr *)&address, &length);
  printf("ws://127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  const int watched[] = {0, listener};
  for (int i = 0; i < 2; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = watched[i]};
    epoll_ctl(epoll, EPOLL_CTL_ADD, watched[i], &event);
  }
  for (;;) {
    struct epoll_event event;
    if (epoll_wait(epoll, &event, 1, -1) < 0) continue;
    if (event.data.fd == 0) return 0;
    if (event.data.fd == listener) {
      take(listener, epoll);
    } else if (!serve(&peers[event.data.fd])) {
      close(event.data.fd);
    }
  }
}
