/* leash.h - drive a JSON-RPC server that runs as a child process or behind a WebSocket,
 * and leave nothing running when you let go.
 *
 * Generated from src/ffi; do not edit. SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * RULES THAT HOLD FOR EVERY FUNCTION
 * Threads:   any function, any thread, any time, except *_free: no other call on that
 *            object may be running or follow. Setting one leash_opts from two threads
 *            needs your own lock. The library never calls back into your code.
 * Strings:   input is UTF-8 and is copied before the call returns. Output `const char *`
 *            is borrowed, NUL-terminated, and lives as long as the object it came from.
 *            Never pass it to free().
 * JSON:      text plus length in bytes; pass LEASH_NUL for NUL-terminated text, NULL to
 *            omit. Checked on the way in, delivered byte for byte on the way out: numbers,
 *            key order and escapes arrive exactly as the peer wrote them. Outgoing, raw CR
 *            and LF between tokens become spaces where a newline ends a message. Of what
 *            arrives, UTF-8, the envelope and the nesting are checked; what is inside a
 *            payload is your parser's affair. What fails is a NOISE event.
 * Time:      milliseconds, monotonic clock. 0 = do not wait, -1 = no limit.
 * Errors:    int results are >= 0 on success, a negative leash_code on failure. *out is
 *            NULL after failure (but see leash_call); other outputs are written only on
 *            success. leash_last_error() has the text. Text never holds argv, environment
 *            values, header values, tokens, payloads, or a URL's user info, path or query.
 * Signals:   library threads block all signals; SIGPIPE is not raised; no handler is
 *            changed; the host's children are never reaped. (A host that is PID 1 or a child
 *            subreaper sees the guard's end; the library reaps exactly that pid.) Every wait
 *            sleeps in poll(2) or futex(2): a handler that runs while it does gives
 *            LEASH_E_INTERRUPTED; one that runs in between, while the thread reads what a busy
 *            server says, does not, so let that wait end by its timeout_ms, or leash_poll by
 *            leash_wake. leash_free goes on waiting.
 * Fork:      in a child forked from a host that has used the library every call fails with
 *            LEASH_E_FORKED (*_free do nothing) until it execs; inherited descriptors are
 *            closed there by a pthread_atfork handler. fork+exec is safe: all descriptors are
 *            close-on-exec, also against a concurrent fork in another thread. A raw clone(2)
 *            runs no such handler: do not call the library in such a child.
 * Standard:  descriptors 0, 1 and 2 are never the library's. Before it makes one of its own, it
 *            opens /dev/null in place of those that the host has closed: close-on-exec, and the
 *            host's from then on. To put something else there, use dup2(2).
 * Death:     however the host ends (close, exit, abort, SIGSEGV, SIGKILL), every local
 *            descendant of the server is gone within EXIT_AFTER + KILL_AFTER + 1 s. Out of
 *            reach: what another daemon started on its behalf, the far side of ssh, processes
 *            of a user whom the host may not signal (LEASH_E_LEFT says so).
 * Trace:     with LEASH_TRACE=FILE in the environment each connection appends to FILE, a line
 *            each, what happens on it: messages (direction, kind, method, id, size), states,
 *            the teardown, and when. Never a payload, argv, or environment. FILE is opened by
 *            leash_connect, and made for its owner alone; when that fails, or a line cannot be
 *            written, the connection goes on without. It is for finding faults: each message
 *            waits for a write. Programs with more rights than their caller ignore it.
 * Memory:    message buffers that cannot be had give LEASH_E_NO_MEMORY; elsewhere running
 *            out of memory aborts, as in any Rust program. Nothing is ever printed.
 * Unload:    dlclose() leaves the library mapped.
 * End:       a connection ends when stdout ends, when the server exits with a failure or by a
 *            signal, or when a message cannot be written since the server has closed its stdin:
 *            what is already in the pipe is read, pending calls end with LEASH_E_CLOSED, and the
 *            tree is torn down then, not when the handle is freed. A launcher that exits with
 *            status 0 while a descendant goes on serving over the same stdout does not end it.
 */


#ifndef LEASH_H
#define LEASH_H

#include <stddef.h>
#include <stdint.h>

/* Length of NUL-terminated text. */
#define LEASH_NUL SIZE_MAX

/* "This field is absent". */
#define LEASH_NONE INT64_MIN

typedef struct leash_opts leash_opts;
typedef struct leash_conn leash_conn;
typedef struct leash_event leash_event;


/* The version of this header: 0xMMmmpp. */
#define LEASH_VERSION_NUMBER 256

/* The version of the ABI; it equals the number in `libleash.so.N`. */
#define LEASH_ABI 0

/* What a function returns. Values are never reused. New ones may appear: keep a default case. */
enum leash_code {
  /* Success. */
  LEASH_OK = 0,
  /* Bad pointer, option, length, UTF-8 or JSON. The text says which. */
  LEASH_E_INVALID = -1,
  /* Option or field unknown to this build. */
  LEASH_E_UNSUPPORTED = -2,
  /* Spawn, DNS, TCP, TLS or upgrade failed. */
  LEASH_E_CONNECT = -3,
  /* The time is over. */
  LEASH_E_TIMEOUT = -4,
  /* leash_cancel ended the call. */
  LEASH_E_CANCELLED = -5,
  /* The connection has ended. */
  LEASH_E_CLOSED = -6,
  /* The peer answered with a JSON-RPC error. */
  LEASH_E_RPC = -7,
  /* The peer broke framing or JSON-RPC beyond repair. */
  LEASH_E_PROTOCOL = -8,
  /* Over LEASH_OPT_MAX_MESSAGE; if incoming, the connection closes. */
  LEASH_E_TOO_BIG = -9,
  /* The send buffer is full, or see leash_call. */
  LEASH_E_FULL = -10,
  /* A signal handler ran, or leash_wake was called. */
  LEASH_E_INTERRUPTED = -11,
  /* Already answered, already claimed, already finished. */
  LEASH_E_STATE = -12,
  /* This process is a forked copy of the host. */
  LEASH_E_FORKED = -13,
  /* A bug in libleash; the connection is closed. */
  LEASH_E_INTERNAL = -14,
  /* Memory for a message, or a descriptor to wait on, could not be had. */
  LEASH_E_NO_MEMORY = -15,
  /* Torn down, but LEASH_INT_LEFT processes may not be killed. */
  LEASH_E_LEFT = -16,
};

/* Keys of leash_opts_set_str (1 to 19), leash_opts_set_list (20 to 39) and
 * leash_opts_set_int (from 40). */
enum leash_opt {
  /* ws:// or wss://; needs argv == NULL. Secret but for scheme, host and port. ASCII (a
   * host of other letters in punycode), no fragment, and no user info: LEASH_OPT_BEARER or
   * LEASH_OPT_HEADERS carry that. Checked by leash_connect. */
  LEASH_OPT_URL = 1,
  /* Sent as "Authorization: Bearer ..." (RFC 6750), also over ws://, where everyone on the
   * way can read it; secret. */
  LEASH_OPT_BEARER = 2,
  /* PEM file of root certificates, for wss://; default: the system's, else built-in ones.
   * A server's own self-signed certificate may be one, unless it is a CA's (CA:TRUE). */
  LEASH_OPT_CA_FILE = 3,
  /* PEM file of the client certificate chain, for wss://; needs LEASH_OPT_KEY_FILE. */
  LEASH_OPT_CERT_FILE = 4,
  /* PEM file of the client key, not encrypted. */
  LEASH_OPT_KEY_FILE = 5,
  /* The server's working directory; default: the host's. */
  LEASH_OPT_CWD = 6,
  /* "Name: value" each, for a URL; values are secret. No Origin is sent unless given. What
   * the handshake sends by itself is refused: Host, Connection, Upgrade, Sec-WebSocket-*,
   * Content-Length, Transfer-Encoding; and Authorization beside LEASH_OPT_BEARER. */
  LEASH_OPT_HEADERS = 20,
  /* "NAME=value" over the inherited set, "NAME" removes; secret. */
  LEASH_OPT_ENV = 21,
  /* One of enum leash_protocol; default LEASH_PROTOCOL_JSONRPC. */
  LEASH_OPT_PROTOCOL = 40,
  /* 1: do not inherit the environment; default 0. */
  LEASH_OPT_ENV_CLEAR = 41,
  /* 0 discard, 1 events (default), 2 inherit the host's stderr. */
  LEASH_OPT_STDERR = 42,
  /* Bytes of one message, both ways; default 64 MiB. */
  LEASH_OPT_MAX_MESSAGE = 43,
  /* Unread NOTIFY, REQUEST and NOISE before reading stops; default 4096. STDERR has
   * the room that those leave: its oldest lines go first and are counted in
   * LEASH_INT_DROPPED, and it never stops reading. */
  LEASH_OPT_QUEUE_EVENTS = 44,
  /* The same in bytes, default 64 MiB; an empty queue takes one message of any allowed
   * size. OPEN, CLOSED and the RESPONSE of each pending call always have a place. */
  LEASH_OPT_QUEUE_BYTES = 45,
  /* Unsent output in bytes; default 64 MiB. Replies and cancels that the library sends
   * by itself have a reserve. */
  LEASH_OPT_SEND_BYTES = 46,
  /* Milliseconds from leash_close to SIGTERM (sending what is queued and a WebSocket
   * close count); default 2000. */
  LEASH_OPT_EXIT_AFTER = 47,
  /* Milliseconds from SIGTERM to SIGKILL; default 2000. */
  LEASH_OPT_KILL_AFTER = 48,
  /* Milliseconds between WebSocket pings; default 0, off: a client ping confuses some
   * servers. When the peer sends nothing at all for two periods after a ping, the
   * connection ends. Pings of the peer are answered, except while a full queue has stopped
   * reading; our own clock stops then. */
  LEASH_OPT_PING_EVERY = 49,
  /* 1: submits and notifies are collected until leash_flush, leash_poll, leash_wait,
   * leash_call, a reply, or 64 KiB; default 0. */
  LEASH_OPT_CORK = 50,
};

/* Sets framing over stdio, the "jsonrpc" member sent, and the cancel notification sent.
 * Messages without "jsonrpc" are always accepted. Over WebSocket one text message is one
 * JSON-RPC message, whatever the protocol. */
enum leash_protocol {
  /* JSON-RPC 2.0, newline-delimited, "jsonrpc":"2.0"; a cancel sends nothing. */
  LEASH_PROTOCOL_JSONRPC = 0,
  /* Model Context Protocol: the same, and notifications/cancelled. */
  LEASH_PROTOCOL_MCP = 1,
  /* Agent Client Protocol: the same, and $/cancel_request. */
  LEASH_PROTOCOL_ACP = 2,
  /* Language Server Protocol: Content-Length framing; $/cancelRequest. */
  LEASH_PROTOCOL_LSP = 3,
  /* No "jsonrpc" member, a cancel sends nothing: codex exec-server and app-server,
   * Chrome DevTools. */
  LEASH_PROTOCOL_BARE = 4,
};

/* What an event is. Free events of a kind that you do not know. */
enum leash_kind {
  /* The transport is up. */
  LEASH_EVENT_OPEN = 1,
  /* A leash_submit ended: STATUS, CALL, TAG, JSON. */
  LEASH_EVENT_RESPONSE = 2,
  /* A notification: METHOD, JSON. */
  LEASH_EVENT_NOTIFY = 3,
  /* A request: METHOD, JSON, PEER_ID; you owe a reply. */
  LEASH_EVENT_REQUEST = 4,
  /* TEXT: one line of stderr without its newline, invalid UTF-8 replaced. A line over
   * 16 KiB comes in pieces. DROPPED. */
  LEASH_EVENT_STDERR = 5,
  /* TEXT: the first 4 KiB of a stdout line or message that is not JSON-RPC (binary
   * messages too), or of an answer that no call waits for. A broken Content-Length or
   * WebSocket frame is LEASH_E_PROTOCOL instead. */
  LEASH_EVENT_NOISE = 6,
  /* Always last: STATUS (0 only after leash_close), TEXT, EXIT_CODE, EXIT_SIGNAL, STAGE,
   * KILLED, LEFT, DISCARDED, DROPPED, OS_ERROR; for WebSocket CLOSE_CODE. */
  LEASH_EVENT_CLOSED = 7,
};

/* How far a teardown had to go (LEASH_INT_STAGE). */
enum leash_stage {
  /* No process needed a signal. */
  LEASH_STAGE_EXITED = 0,
  /* Some needed SIGTERM. */
  LEASH_STAGE_TERM = 1,
  /* Some needed SIGKILL. */
  LEASH_STAGE_KILL = 2,
};

/* Fields of events and connections. */
enum leash_field {
  /* Event: 0, or the leash_code that ended the call or connection. */
  LEASH_INT_STATUS = 1,
  /* Event: id from leash_submit. */
  LEASH_INT_CALL = 2,
  /* Event: what leash_submit was given. */
  LEASH_INT_TAG = 3,
  /* Event: arrival number on this connection, from 1. */
  LEASH_INT_SEQ = 4,
  /* Event: the JSON-RPC error code when STATUS is LEASH_E_RPC; absent if the peer gave none. */
  LEASH_INT_RPC_CODE = 5,
  /* Event: exit status of the server that was started. */
  LEASH_INT_EXIT_CODE = 6,
  /* Event: signal that ended it. */
  LEASH_INT_EXIT_SIGNAL = 7,
  /* Event: stderr lines lost just before this one. */
  LEASH_INT_DROPPED = 8,
  /* Event: enum leash_stage. */
  LEASH_INT_STAGE = 9,
  /* Event: processes that were still alive when SIGKILL was sent. */
  LEASH_INT_KILLED = 10,
  /* Event: the code of the peer's WebSocket close (RFC 6455, section 7.4), 1005 when it had
   * none, 1006 when none came; absent when the connection never opened. */
  LEASH_INT_CLOSE_CODE = 11,
  /* Event: processes that could not be killed. */
  LEASH_INT_LEFT = 12,
  /* Event: bytes read during teardown, past the queue's limits. */
  LEASH_INT_DISCARDED = 13,
  /* Event: errno behind the end (ENOENT, ECONNREFUSED, ...), also when it never opened;
   * absent when there is none. */
  LEASH_INT_OS_ERROR = 14,
  /* Connection: process id of the server; also its process-group id. */
  LEASH_INT_PID = 20,
  /* Connection: events waiting. */
  LEASH_INT_QUEUED = 21,
  /* Connection: calls without a response. */
  LEASH_INT_PENDING = 22,
  /* Event: method of a request or notification. */
  LEASH_STR_METHOD = 40,
  /* Event: params, result, or error data. */
  LEASH_STR_JSON = 41,
  /* Event: line, error message, or why the connection ended. */
  LEASH_STR_TEXT = 42,
  /* Event: the peer's id as raw JSON. */
  LEASH_STR_PEER_ID = 43,
};

/* One connection. */
struct leash_conn;

/* One thing that arrived. */
struct leash_event;

/* Settings for one connection. */
struct leash_opts;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/* Version of the library in use, e.g. "0.1.0". Static: never free it. number (0xMMmmpp)
 * and abi may be NULL. Bindings that dlopen() should compare abi with LEASH_ABI.
 * Any thread; never fails.
 *
 * Safety: number and abi are NULL or can be written. */
const char *leash_version(uint32_t *number, uint32_t *abi);

/* Text for the calling thread's most recent failure; "" if none. Valid until this
 * thread's next leash call. Success does not clear it: read it only after a failure.
 * Any thread; never fails. */
const char *leash_last_error(void);

/* errno behind the calling thread's most recent failure (ENOENT, EACCES, ECONNREFUSED,
 * ...); 0 if there is none. Same lifetime as leash_last_error. Any thread; never fails. */
int leash_last_os_error(void);

/* Start a connection. argv: NULL-terminated, `argv[0]` looked up in the child's PATH (after
 * ENV; a name with a slash, and relative PATH entries, after CWD), no shell, run in its own
 * session and process group; or NULL to dial LEASH_OPT_URL. opts may be NULL with argv.
 *
 * The environment is read here, on the calling thread. Waits up to timeout_ms for OPEN
 * (for a child: the program was executed); with 0 it returns at once. Either way OPEN is the
 * first event to poll, or CLOSED when 0 was returned and it never opened; only the RESPONSE of
 * a call that ended even before that comes first. Calls made before OPEN are held. On failure
 * SIGKILL is immediate, nothing is left running, and the return is at most 1 s late. Needs
 * Linux 5.9. Caller owns *out: leash_free. Any thread.
 *
 * For a URL timeout_ms covers the look-up of the name, TCP, TLS and the upgrade together; with
 * 0 that may take 30 s. Addresses are tried in turns (RFC 8305). Redirects are refused. No proxy
 * is used, whatever HTTPS_PROXY and ALL_PROXY say. TLS is 1.2 or 1.3; SSL_CERT_FILE and
 * SSL_CERT_DIR name other system roots. Files are read here, on the calling thread.
 *
 * LEASH_E_CONNECT (the text says what and why, e.g. "cannot start "pylsp": No such file or
 * directory", or "wss://host:443 refused the WebSocket: it answered 403 Forbidden";
 * leash_last_os_error has the errno), LEASH_E_TIMEOUT (for a URL the text says what was
 * missing), LEASH_E_INTERRUPTED (a signal handler ran), LEASH_E_INVALID, LEASH_E_UNSUPPORTED
 * (LEASH_OPT_URL in a build without WebSocket), LEASH_E_FORKED. *out is NULL then.
 *
 * Safety: argv is NULL or a NULL-terminated list of NUL-terminated texts; opts is NULL or came from
 * leash_opts_new; out can be written. */
int leash_connect(const char *const *argv,
                  const struct leash_opts *opts,
                  int64_t timeout_ms,
                  struct leash_conn **out);

/* leash_connect to the environment id of a codex environments.toml at path (id NULL: the
 * file's default; path NULL: the url in CODEX_EXEC_SERVER_URL, whose id is "remote"; the
 * value `none` disables it). The file gives program, args, env and cwd, or url; a relative
 * cwd is relative to the file's folder. opts (may be NULL) gives the rest and may not give the
 * same: of LEASH_OPT_ENV, no variable that the file gives. timeout_ms -1 means the file's
 * connect_timeout_sec, 10 s unless the file says. The file and the environment are read here,
 * on the calling thread. All else as leash_connect. Any thread.
 *
 * LEASH_E_INVALID: unreadable or invalid file (leash_last_os_error has the errno: ENOENT,
 * EACCES, EISDIR; EINVAL for what is not a regular file, EILSEQ for what is not UTF-8, EFBIG
 * over 1 MiB; else 0 and the text names file, line and key, but no value of args, env or
 * url), unknown or disabled id, no default, CODEX_EXEC_SERVER_URL not set, conflict with
 * opts. LEASH_E_UNSUPPORTED: `local`, which has no server; a url where the build has no
 * WebSocket; a build without environments. Otherwise as leash_connect. *out is NULL then.
 *
 * Safety: As for leash_connect; path and id are NULL or NUL-terminated. */
int leash_connect_env(const char *path,
                      const char *id,
                      const struct leash_opts *opts,
                      int64_t timeout_ms,
                      struct leash_conn **out);

/* What a file of environments holds, as JSON without secrets: {"default":"a",
 * "environments":[{"id":"a","kind":"stdio"|"url","connect_timeout_sec":10,
 * "initialize_timeout_sec":10}]}, in the file's order. default is null when the file has
 * none, and may be "local". Both limits are always there; initialize_timeout_sec is for you:
 * the library sends no initialize. path NULL: as for leash_connect_env. Connects to nothing.
 * Any thread.
 *
 * *len gets the length, without the NUL. At most cap bytes with a final NUL go to buf;
 * LEASH_E_TOO_BIG when they do not fit: then *len is set all the same, and buf is "" unless
 * cap is 0. So cap 0 (buf may be NULL) asks for the length. LEASH_E_INVALID as for
 * leash_connect_env, with *len 0. LEASH_E_UNSUPPORTED: a build without environments.
 * LEASH_E_FORKED.
 *
 * Safety: path is NULL or NUL-terminated; buf can be written for cap bytes; len can be written. */
int leash_env_list(const char *path, char *buf, size_t cap, size_t *len);

/* Descriptor for poll/epoll/kqueue: readable exactly while leash_poll(c, 0, ..) would not
 * return 0 (level-triggered), so for ever once CLOSED was taken: remove it then. Never read,
 * write or close it. Same value until leash_free. From the first leash_fd on, the library
 * reads by itself whenever no thread of yours is waiting. Any thread.
 *
 * LEASH_E_INVALID, LEASH_E_FORKED.
 *
 * Safety: c came from leash_connect and is not freed. */
int leash_fd(const struct leash_conn *c);

/* Take the next event, in arrival order. stdout and stderr are two pipes: their relative
 * order is approximate. Returns 1 and *out (you own it: leash_event_free), or 0 when
 * timeout_ms passes. Several threads may poll; each event goes to one.
 *
 * When the queue is full the library stops reading from the peer: nothing is lost, the peer
 * waits. stderr is still drained; its oldest lines are dropped and counted.
 *
 * LEASH_E_CLOSED: CLOSED was taken. LEASH_E_INTERRUPTED: a signal handler ran, or
 * leash_wake. LEASH_E_INVALID, LEASH_E_FORKED, LEASH_E_NO_MEMORY.
 *
 * Safety: c came from leash_connect and is not freed; out can be written. */
int leash_poll(struct leash_conn *c, int64_t timeout_ms, struct leash_event **out);

/* Make one leash_poll, running or next, return LEASH_E_INTERRUPTED. Each call counts for
 * one. Async-signal-safe; leaves errno and leash_last_error alone. Any thread.
 *
 * LEASH_E_INVALID: c is NULL. LEASH_E_FORKED.
 *
 * Safety: c came from leash_connect and is not freed. */
int leash_wake(struct leash_conn *c);

/* Send a request; never blocks. Exactly one RESPONSE follows, by leash_poll or leash_wait,
 * whatever happens. It carries tag, which you choose: another thread may see it before this
 * function returns. id (may be NULL) gets a number > 0. params is a JSON array or object of
 * len bytes (or LEASH_NUL), or NULL. timeout_ms runs from now; when it passes the call ends
 * with LEASH_E_TIMEOUT and the peer is told as by leash_cancel (never for `initialize`).
 * Any thread.
 *
 * LEASH_E_FULL: send buffer full, nothing queued. LEASH_E_TOO_BIG: over MAX_MESSAGE or
 * SEND_BYTES. LEASH_E_CLOSED. LEASH_E_INVALID: also when timeout_ms is 0.
 * LEASH_E_NO_MEMORY, LEASH_E_FORKED.
 *
 * Safety: c came from leash_connect and is not freed; method is NUL-terminated; params is NULL,
 * readable for len bytes, or NUL-terminated; id is NULL or can be written. */
int leash_submit(struct leash_conn *c,
                 const char *method,
                 const char *params,
                 size_t len,
                 int64_t timeout_ms,
                 int64_t tag,
                 int64_t *id);

/* Wait for one submitted call, out of order with leash_poll, which cannot take its response
 * while this waits. 1 and *out (you own it), or 0 on timeout: the call goes on, wait again or
 * cancel it. A response that came before can be taken, too. Any thread.
 *
 * LEASH_E_STATE: unknown, taken already, or another thread waits for it. LEASH_E_FULL as for
 * leash_call. LEASH_E_INTERRUPTED: a signal handler ran. LEASH_E_INVALID, LEASH_E_FORKED,
 * LEASH_E_NO_MEMORY. When the connection ends, the response does come, with LEASH_E_CLOSED as
 * its STATUS.
 *
 * Safety: c came from leash_connect and is not freed; out can be written. */
int leash_wait(struct leash_conn *c, int64_t id, int64_t timeout_ms, struct leash_event **out);

/* leash_submit + leash_wait + leash_cancel on failure; leash_poll never sees its response.
 * 0: *out is the response (you own it), result in LEASH_STR_JSON. LEASH_E_RPC: *out is also
 * set, with code, message and data. Otherwise *out is NULL. Any thread.
 *
 * Events queue up meanwhile; if the queue is full, so that the answer cannot be read, and no
 * thread takes an event for 1 s: LEASH_E_FULL, never a deadlock.
 *
 * LEASH_E_TIMEOUT, LEASH_E_CLOSED, LEASH_E_CANCELLED, LEASH_E_INTERRUPTED, and the errors of
 * leash_submit.
 *
 * Safety: As for leash_submit; out can be written. */
int leash_call(struct leash_conn *c,
               const char *method,
               const char *params,
               size_t len,
               int64_t timeout_ms,
               struct leash_event **out);

/* Give up on a call: its RESPONSE comes now, with LEASH_E_CANCELLED, and the peer is told if
 * the protocol can (never for `initialize`). A late answer is a NOISE event. Any thread.
 *
 * LEASH_E_STATE: already finished, or never was. LEASH_E_INVALID, LEASH_E_FORKED.
 *
 * Safety: c came from leash_connect and is not freed. */
int leash_cancel(struct leash_conn *c, int64_t id);

/* Send a notification; never blocks. Errors as leash_submit. Any thread.
 *
 * Safety: As for leash_submit. */
int leash_notify(struct leash_conn *c, const char *method, const char *params, size_t len);

/* Send what LEASH_OPT_CORK has collected; never blocks. LEASH_E_CLOSED, LEASH_E_INVALID,
 * LEASH_E_FORKED. Any thread.
 *
 * Safety: c came from leash_connect and is not freed. */
int leash_flush(struct leash_conn *c);

/* A connection field (LEASH_INT_PID, LEASH_INT_QUEUED, LEASH_INT_PENDING), or LEASH_NONE
 * when absent, c is NULL, or this is a forked copy. Any thread.
 *
 * Safety: c is NULL, or came from leash_connect and is not freed. */
int64_t leash_conn_int(const struct leash_conn *c, int field);

/* Tear down: end pending calls with LEASH_E_CLOSED, send what is queued, close stdin (or send
 * a WebSocket close), wait EXIT_AFTER, SIGTERM all, wait KILL_AFTER, SIGKILL all until none is
 * left, reap. "All" is the process group and every descendant, also one that left the group or
 * the session. Survivors of a clean exit are killed too, 100 ms after the server has left.
 * A WebSocket has EXIT_AFTER to take what is queued and to answer the close; then its TCP
 * connection is closed all the same.
 *
 * Waits up to timeout_ms for that to finish; it goes on regardless. 0 when done. Idempotent,
 * from any thread. Queued events, then CLOSED, can still be polled.
 *
 * LEASH_E_TIMEOUT, LEASH_E_INTERRUPTED (a signal handler ran), LEASH_E_LEFT, LEASH_E_INVALID,
 * LEASH_E_FORKED, LEASH_E_NO_MEMORY (no descriptor to wait on; the teardown goes on).
 *
 * Safety: c came from leash_connect and is not freed. */
int leash_close(struct leash_conn *c, int64_t timeout_ms);

/* leash_close(c, -1), then free (NULL allowed). Bounded by EXIT_AFTER + KILL_AFTER + 1 s. Get
 * other threads out first: leash_close makes their calls return. Does nothing in a forked copy.
 *
 * Safety: c is NULL, or came from leash_connect and is not freed; no other call on c is running or
 * follows. */
void leash_free(struct leash_conn *c);

/* Answer a REQUEST event; never blocks. result is any JSON of len bytes (or LEASH_NUL); NULL
 * sends null. The event stays yours. Any thread.
 *
 * LEASH_E_STATE: not a REQUEST, or already answered. LEASH_E_CLOSED, LEASH_E_FULL,
 * LEASH_E_TOO_BIG, LEASH_E_INVALID, LEASH_E_NO_MEMORY: not answered, you may try again.
 * LEASH_E_FORKED.
 *
 * Safety: request came from leash_poll and is not freed; result is NULL, readable for len bytes, or
 * NUL-terminated. */
int leash_reply(struct leash_event *request, const char *result, size_t len);

/* Refuse a REQUEST event with a JSON-RPC error (JSON-RPC 2.0, section 5.1); never blocks.
 * message is text; data is any JSON of len bytes (or LEASH_NUL), or NULL. Errors as
 * leash_reply. Any thread.
 *
 * Safety: As for leash_reply; message is NUL-terminated. */
int leash_reply_error(struct leash_event *request,
                      int64_t rpc_code,
                      const char *message,
                      const char *data,
                      size_t len);

/* One of enum leash_kind; 0 for NULL, or in a forked copy. Any thread.
 *
 * Safety: e is NULL, or came from this library and is not freed. */
int leash_event_kind(const struct leash_event *e);

/* A number of an event, or LEASH_NONE when it is absent, the field unknown, e NULL, or this a
 * forked copy. Any thread.
 *
 * Safety: e is NULL, or came from this library and is not freed. */
int64_t leash_event_int(const struct leash_event *e, int field);

/* A text of an event, or NULL when it is absent, the field unknown, e NULL, or this a forked
 * copy. *len (may be NULL) gets its length in bytes, 0 with NULL. Text lives until
 * leash_event_free(e). JSON is as the peer wrote it; it may contain \u0000 escapes but no raw
 * NUL. In METHOD and TEXT what C cannot hold (NUL, half of a surrogate pair) is U+FFFD. Any
 * thread.
 *
 * Safety: e is NULL, or came from this library and is not freed; len is NULL or can be written. */
const char *leash_event_str(const struct leash_event *e, int field, size_t *len);

/* Free an event (NULL allowed); safe before or after leash_free. A REQUEST freed without an
 * answer is answered with -32603, so that the peer does not hang. Any thread; does nothing in
 * a forked copy.
 *
 * Safety: e is NULL, or came from this library and is not freed; no other call on e is running or
 * follows. */
void leash_event_free(struct leash_event *e);

/* New settings with the defaults above; NULL only when out of memory, or in a forked
 * copy of a host that has used the library. Caller owns it: leash_opts_free. Any thread. */
struct leash_opts *leash_opts_new(void);

/* Free opts (NULL allowed) and wipe its secrets. Connections do not refer to it. Any
 * thread, as long as no other call on opts is running or follows.
 *
 * Safety: opts is NULL, or came from leash_opts_new and is not freed. */
void leash_opts_free(struct leash_opts *opts);

/* Set a text option (LEASH_OPT_URL to LEASH_OPT_CWD). The value is copied; NULL restores
 * the default.
 *
 * LEASH_E_UNSUPPORTED: key unknown, so an old library never ignores a new option.
 * LEASH_E_INVALID: wrong setter for key, not UTF-8, or out of range; nothing changed.
 *
 * Safety: opts came from leash_opts_new; value is NULL or NUL-terminated. Setting one opts from
 * two threads needs a lock of yours. */
int leash_opts_set_str(struct leash_opts *opts, int key, const char *value);

/* Set a number option (from LEASH_OPT_PROTOCOL on). Errors as leash_opts_set_str.
 *
 * Safety: As for leash_opts_set_str. */
int leash_opts_set_int(struct leash_opts *opts, int key, int64_t value);

/* Set a list option (LEASH_OPT_HEADERS, LEASH_OPT_ENV). list has n items, all copied; a
 * NULL list restores the default, which is empty. Errors as leash_opts_set_str.
 *
 * Safety: As for leash_opts_set_str; list is NULL or has n items, each NUL-terminated. */
int leash_opts_set_list(struct leash_opts *opts, int key, const char *const *list, size_t n);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LEASH_H */
