/* The server of the benches: reads JSON-RPC from stdin and answers as fast as plain C can.
 *
 *   server [--content-length]
 *
 * It looks for the members that it needs and reads nothing else. Answers to what came in one
 * read go out in one write.
 *
 *   blob {"size":N}, with "kind":"objects" for many small objects: a result of N bytes
 *   flood {"size":N}: N notifications, then the answer
 *   tools/call {"name":"blob"|"flood","arguments":{"size":N}}: the same for MCP clients
 *   initialize, tools/list: what an MCP client wants to hear
 *   anything else: {} */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CHUNK = 1 << 20, NEAR = 512 };

static const char NOTIFICATION[] = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\","
                                   "\"params\":{\"level\":\"info\",\"data\":\"tick\"}}";

static int has_headers;
static char out[CHUNK];
static size_t held;

static void *must(void *memory) {
  if (!memory) abort();
  return memory;
}

static void write_all(struct iovec *parts, int n) {
  while (n > 0) {
    ssize_t done = writev(1, parts, n);
    if (done < 0) exit(0);
    for (; n > 0 && (size_t)done >= parts->iov_len; parts++, n--) done -= (ssize_t)parts->iov_len;
    if (n > 0) {
      parts->iov_base = (char *)parts->iov_base + done;
      parts->iov_len -= (size_t)done;
    }
  }
}

static void flush(void) {
  struct iovec all = {out, held};
  held = 0;
  if (all.iov_len) write_all(&all, 1);
}

static void add(const char *bytes, size_t length) {
  memcpy(out + held, bytes, length);
  held += length;
}

/* One message of up to three parts; only the second may be long. */
static void say(const char *head, size_t head_length, const char *body, size_t length,
                const char *tail) {
  if (held + length + 4 * NEAR > sizeof out) flush();
  if (has_headers) {
    held += (size_t)sprintf(out + held, "Content-Length: %zu\r\n\r\n",
                            head_length + length + strlen(tail));
  }
  add(head, head_length);
  if (length > sizeof out / 4) {
    struct iovec parts[3] = {{out, held}, {(char *)body, length}, {(char *)tail, strlen(tail)}};
    held = 0;
    write_all(parts, 3);
  } else {
    add(body, length);
    add(tail, strlen(tail));
  }
  if (!has_headers) out[held++] = '\n';
}

/* What follows "name": at the beginning of a message or, for clients that put the envelope
 * behind the params, at its end. */
static const char *member(const char *message, size_t length, const char *name) {
  char key[64];
  size_t n = (size_t)sprintf(key, "\"%s\":", name), near = length < NEAR ? length : NEAR;
  const char *found = memmem(message, near, key, n);
  if (!found && length > near) found = memmem(message + length - near, near, key, n);
  if (!found) return NULL;
  found += n;
  return *found == ' ' ? found + 1 : found;
}

struct blob {
  size_t size;
  int is_objects;
  char *text;
};

/* Made once: what is measured is the way of a blob, not its making. */
static const char *blob(size_t size, int is_objects) {
  static struct blob made[8];
  static const char object[] = "{\"name\":\"item\",\"tags\":[\"a\",\"b\"],\"at\":1234567,\"note\":\"x \\\"y\\\"\"},";
  size_t i = 0, at = 0;
  while (made[i].text && (made[i].size != size || made[i].is_objects != is_objects)) i++;
  if (made[i].text) return made[i].text;
  if (i == sizeof made / sizeof *made - 1) abort();
  char *text = must(malloc(size + 1));
  memset(text, 'x', size);
  if (is_objects && size > 2 * sizeof object) {
    text[at++] = '[';
    for (; at + sizeof object + 4 < size; at += sizeof object - 1)
      memcpy(text + at, object, sizeof object - 1);
    text[at++] = '0';
    memset(text + at, ' ', size - at);
    text[size - 1] = ']';
  } else if (size >= 2) {
    text[0] = text[size - 1] = '"';
  }
  made[i] = (struct blob){size, is_objects, text};
  return text;
}

static int is(const char *method, const char *name) {
  return method && strncmp(method, name, strlen(name)) == 0;
}

static void answer(const char *message, size_t length) {
  const char *id = member(message, length, "id"), *method = member(message, length, "method");
  const char *size = member(message, length, "size"), *name = member(message, length, "name");
  size_t bytes = size ? strtoul(size, NULL, 10) : 0;
  int is_tool = is(method, "\"tools/call\"");
  if (!id) return;
  if (is(is_tool ? name : method, "\"flood\""))
    for (size_t n = 0; n < bytes; n++) say(NOTIFICATION, sizeof NOTIFICATION - 1, "", 0, "");

  char head[NEAR];
  size_t at = (size_t)sprintf(head, "{\"jsonrpc\":\"2.0\",\"id\":");
  for (; *id != ',' && *id != '}' && at < 200; id++) head[at++] = *id;
  at += (size_t)sprintf(head + at, ",\"result\":");
  if (is(method, "\"blob\"")) {
    const char *kind = member(message, length, "kind");
    say(head, at, blob(bytes, is(kind, "\"objects\"")), bytes, "}");
  } else if (is_tool) {
    int is_blob = is(name, "\"blob\"") && bytes >= 2;
    at += (size_t)sprintf(head + at, "{\"content\":[{\"type\":\"text\",\"text\":");
    say(head, at, is_blob ? blob(bytes, 0) : "\"\"", is_blob ? bytes : 2, "}]}}");
  } else if (is(method, "\"initialize\"")) {
    const char *version = member(message, length, "protocolVersion");
    int width = version ? (int)strcspn(version + 1, "\"") + 2 : 2;
    at += (size_t)sprintf(head + at,
                          "{\"capabilities\":{\"tools\":{},\"logging\":{}},\"serverInfo\":"
                          "{\"name\":\"bench\",\"version\":\"1\"},\"protocolVersion\":%.*s}",
                          width, version ? version : "\"\"");
    say(head, at, "", 0, "}");
  } else if (is(method, "\"tools/list\"")) {
    at += (size_t)sprintf(head + at, "{\"tools\":[{\"name\":\"blob\",\"inputSchema\":{\"type\":"
                                     "\"object\"}},{\"name\":\"flood\",\"inputSchema\":{\"type\":\"object\"}}]}");
    say(head, at, "", 0, "}");
  } else {
    say(head, at, "{}", 2, "}");
  }
}

/* The next message in `bytes`, of which `searched` hold no end: its length and how much to
 * go on by. 0: not whole yet. */
static size_t next(const char *bytes, size_t length, size_t *searched, const char **message,
                   size_t *size) {
  if (!has_headers) {
    const char *end = memchr(bytes + *searched, '\n', length - *searched);
    *searched = end ? 0 : length;
    *message = bytes;
    *size = end ? (size_t)(end - bytes) : 0;
    return end ? *size + 1 : 0;
  }
  const char *end = memmem(bytes, length < NEAR ? length : NEAR, "\r\n\r\n", 4);
  const char *digits = end ? memmem(bytes, (size_t)(end - bytes), "ength:", 6) : NULL;
  if (!digits) return 0;
  *size = strtoul(digits + 6, NULL, 10);
  *message = end + 4;
  size_t whole = (size_t)(end + 4 - bytes) + *size;
  return whole <= length ? whole : 0;
}

int main(int argc, char **argv) {
  size_t room = CHUNK, from = 0, to = 0, searched = 0;
  char *in = must(malloc(room + 1));
  has_headers = argc > 1 && strcmp(argv[1], "--content-length") == 0;
  for (;;) {
    if (room - to < CHUNK / 2) {
      memmove(in, in + from, to - from);
      to -= from;
      from = 0;
      if (room - to < CHUNK / 2) in = must(realloc(in, (room *= 2) + 1));
    }
    ssize_t n = read(0, in + to, room - to);
    if (n <= 0) return 0;
    to += (size_t)n;
    in[to] = 0;
    const char *message;
    size_t size, used;
    while (from < to && (used = next(in + from, to - from, &searched, &message, &size)) > 0) {
      answer(message, size);
      from += used;
    }
    if (from == to) from = to = 0;
    flush();
  }
}
