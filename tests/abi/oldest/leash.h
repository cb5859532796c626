/* The oldest header that a program may have been built with, without its comments. Never
 * changed: what is declared here stays in the library as long as its ABI has this number. */
#ifndef LEASH_H
#define LEASH_H
#include <stddef.h>
#include <stdint.h>
#define LEASH_NUL SIZE_MAX
#define LEASH_NONE INT64_MIN
typedef struct leash_opts leash_opts;
typedef struct leash_conn leash_conn;
typedef struct leash_event leash_event;
#define LEASH_VERSION_NUMBER 256
#define LEASH_ABI 0
enum leash_code {
  LEASH_OK = 0,
  LEASH_E_INVALID = -1,
  LEASH_E_UNSUPPORTED = -2,
  LEASH_E_CONNECT = -3,
  LEASH_E_TIMEOUT = -4,
  LEASH_E_CANCELLED = -5,
  LEASH_E_CLOSED = -6,
  LEASH_E_RPC = -7,
  LEASH_E_PROTOCOL = -8,
  LEASH_E_TOO_BIG = -9,
  LEASH_E_FULL = -10,
  LEASH_E_INTERRUPTED = -11,
  LEASH_E_STATE = -12,
  LEASH_E_FORKED = -13,
  LEASH_E_INTERNAL = -14,
  LEASH_E_NO_MEMORY = -15,
  LEASH_E_LEFT = -16,
};
enum leash_opt {
  LEASH_OPT_URL = 1,
  LEASH_OPT_BEARER = 2,
  LEASH_OPT_CA_FILE = 3,
  LEASH_OPT_CERT_FILE = 4,
  LEASH_OPT_KEY_FILE = 5,
  LEASH_OPT_CWD = 6,
  LEASH_OPT_HEADERS = 20,
  LEASH_OPT_ENV = 21,
  LEASH_OPT_PROTOCOL = 40,
  LEASH_OPT_ENV_CLEAR = 41,
  LEASH_OPT_STDERR = 42,
  LEASH_OPT_MAX_MESSAGE = 43,
  LEASH_OPT_QUEUE_EVENTS = 44,
  LEASH_OPT_QUEUE_BYTES = 45,
  LEASH_OPT_SEND_BYTES = 46,
  LEASH_OPT_EXIT_AFTER = 47,
  LEASH_OPT_KILL_AFTER = 48,
  LEASH_OPT_PING_EVERY = 49,
  LEASH_OPT_CORK = 50,
};
enum leash_protocol {
  LEASH_PROTOCOL_JSONRPC = 0,
  LEASH_PROTOCOL_MCP = 1,
  LEASH_PROTOCOL_ACP = 2,
  LEASH_PROTOCOL_LSP = 3,
  LEASH_PROTOCOL_BARE = 4,
};
enum leash_kind {
  LEASH_EVENT_OPEN = 1,
  LEASH_EVENT_RESPONSE = 2,
  LEASH_EVENT_NOTIFY = 3,
  LEASH_EVENT_REQUEST = 4,
  LEASH_EVENT_STDERR = 5,
  LEASH_EVENT_NOISE = 6,
  LEASH_EVENT_CLOSED = 7,
};
enum leash_stage {
  LEASH_STAGE_EXITED = 0,
  LEASH_STAGE_TERM = 1,
  LEASH_STAGE_KILL = 2,
};
enum leash_field {
  LEASH_INT_STATUS = 1,
  LEASH_INT_CALL = 2,
  LEASH_INT_TAG = 3,
  LEASH_INT_SEQ = 4,
  LEASH_INT_RPC_CODE = 5,
  LEASH_INT_EXIT_CODE = 6,
  LEASH_INT_EXIT_SIGNAL = 7,
  LEASH_INT_DROPPED = 8,
  LEASH_INT_STAGE = 9,
  LEASH_INT_KILLED = 10,
  LEASH_INT_CLOSE_CODE = 11,
  LEASH_INT_LEFT = 12,
  LEASH_INT_DISCARDED = 13,
  LEASH_INT_PID = 20,
  LEASH_INT_QUEUED = 21,
  LEASH_INT_PENDING = 22,
  LEASH_STR_METHOD = 40,
  LEASH_STR_JSON = 41,
  LEASH_STR_TEXT = 42,
  LEASH_STR_PEER_ID = 43,
};
struct leash_conn;
struct leash_event;
struct leash_opts;
#ifdef __cplusplus
extern "C" {
#endif
const char *leash_version(uint32_t *number, uint32_t *abi);
const char *leash_last_error(void);
int leash_last_os_error(void);
int leash_connect(const char *const *argv,
                  const struct leash_opts *opts,
                  int64_t timeout_ms,
                  struct leash_conn **out);
int leash_connect_env(const char *path,
                      const char *id,
                      const struct leash_opts *opts,
                      int64_t timeout_ms,
                      struct leash_conn **out);
int leash_env_list(const char *path, char *buf, size_t cap, size_t *len);
int leash_fd(const struct leash_conn *c);
int leash_poll(struct leash_conn *c, int64_t timeout_ms, struct leash_event **out);
int leash_wake(struct leash_conn *c);
int leash_submit(struct leash_conn *c,
                 const char *method,
                 const char *params,
                 size_t len,
                 int64_t timeout_ms,
                 int64_t tag,
                 int64_t *id);
int leash_wait(struct leash_conn *c, int64_t id, int64_t timeout_ms, struct leash_event **out);
int leash_call(struct leash_conn *c,
               const char *method,
               const char *params,
               size_t len,
               int64_t timeout_ms,
               struct leash_event **out);
int leash_cancel(struct leash_conn *c, int64_t id);
int leash_notify(struct leash_conn *c, const char *method, const char *params, size_t len);
int leash_flush(struct leash_conn *c);
int64_t leash_conn_int(const struct leash_conn *c, int field);
int leash_close(struct leash_conn *c, int64_t timeout_ms);
void leash_free(struct leash_conn *c);
int leash_reply(struct leash_event *request, const char *result, size_t len);
int leash_reply_error(struct leash_event *request,
                      int64_t rpc_code,
                      const char *message,
                      const char *data,
                      size_t len);
int leash_event_kind(const struct leash_event *e);
int64_t leash_event_int(const struct leash_event *e, int field);
const char *leash_event_str(const struct leash_event *e, int field, size_t *len);
void leash_event_free(struct leash_event *e);
struct leash_opts *leash_opts_new(void);
void leash_opts_free(struct leash_opts *opts);
int leash_opts_set_str(struct leash_opts *opts, int key, const char *value);
int leash_opts_set_int(struct leash_opts *opts, int key, int64_t value);
int leash_opts_set_list(struct leash_opts *opts, int key, const char *const *list, size_t n);
#ifdef __cplusplus
}
#endif
#endif
