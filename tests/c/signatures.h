/* What both headers must agree on: each value, and each function's exact type. Included
 * after one of them. */
#define SAME(name, value) typedef char same_##name[(name) == (value) ? 1 : -1]

SAME(LEASH_OK, 0);
SAME(LEASH_E_INVALID, -1);
SAME(LEASH_E_UNSUPPORTED, -2);
SAME(LEASH_E_CONNECT, -3);
SAME(LEASH_E_TIMEOUT, -4);
SAME(LEASH_E_CANCELLED, -5);
SAME(LEASH_E_CLOSED, -6);
SAME(LEASH_E_RPC, -7);
SAME(LEASH_E_PROTOCOL, -8);
SAME(LEASH_E_TOO_BIG, -9);
SAME(LEASH_E_FULL, -10);
SAME(LEASH_E_INTERRUPTED, -11);
SAME(LEASH_E_STATE, -12);
SAME(LEASH_E_FORKED, -13);
SAME(LEASH_E_INTERNAL, -14);
SAME(LEASH_E_NO_MEMORY, -15);
SAME(LEASH_E_LEFT, -16);

SAME(LEASH_OPT_URL, 1);
SAME(LEASH_OPT_BEARER, 2);
SAME(LEASH_OPT_CA_FILE, 3);
SAME(LEASH_OPT_CERT_FILE, 4);
SAME(LEASH_OPT_KEY_FILE, 5);
SAME(LEASH_OPT_CWD, 6);
SAME(LEASH_OPT_HEADERS, 20);
SAME(LEASH_OPT_ENV, 21);
SAME(LEASH_OPT_PROTOCOL, 40);
SAME(LEASH_OPT_ENV_CLEAR, 41);
SAME(LEASH_OPT_STDERR, 42);
SAME(LEASH_OPT_MAX_MESSAGE, 43);
SAME(LEASH_OPT_QUEUE_EVENTS, 44);
SAME(LEASH_OPT_QUEUE_BYTES, 45);
SAME(LEASH_OPT_SEND_BYTES, 46);
SAME(LEASH_OPT_EXIT_AFTER, 47);
SAME(LEASH_OPT_KILL_AFTER, 48);
SAME(LEASH_OPT_PING_EVERY, 49);
SAME(LEASH_OPT_CORK, 50);

SAME(LEASH_PROTOCOL_JSONRPC, 0);
SAME(LEASH_PROTOCOL_MCP, 1);
SAME(LEASH_PROTOCOL_ACP, 2);
SAME(LEASH_PROTOCOL_LSP, 3);
SAME(LEASH_PROTOCOL_BARE, 4);

SAME(LEASH_EVENT_OPEN, 1);
SAME(LEASH_EVENT_RESPONSE, 2);
SAME(LEASH_EVENT_NOTIFY, 3);
SAME(LEASH_EVENT_REQUEST, 4);
SAME(LEASH_EVENT_STDERR, 5);
SAME(LEASH_EVENT_NOISE, 6);
SAME(LEASH_EVENT_CLOSED, 7);

SAME(LEASH_STAGE_EXITED, 0);
SAME(LEASH_STAGE_TERM, 1);
SAME(LEASH_STAGE_KILL, 2);

SAME(LEASH_INT_STATUS, 1);
SAME(LEASH_INT_CALL, 2);
SAME(LEASH_INT_TAG, 3);
SAME(LEASH_INT_SEQ, 4);
SAME(LEASH_INT_RPC_CODE, 5);
SAME(LEASH_INT_EXIT_CODE, 6);
SAME(LEASH_INT_EXIT_SIGNAL, 7);
SAME(LEASH_INT_DROPPED, 8);
SAME(LEASH_INT_STAGE, 9);
SAME(LEASH_INT_KILLED, 10);
SAME(LEASH_INT_CLOSE_CODE, 11);
SAME(LEASH_INT_LEFT, 12);
SAME(LEASH_INT_DISCARDED, 13);
SAME(LEASH_INT_OS_ERROR, 14);
SAME(LEASH_INT_PID, 20);
SAME(LEASH_INT_QUEUED, 21);
SAME(LEASH_INT_PENDING, 22);
SAME(LEASH_STR_METHOD, 40);
SAME(LEASH_STR_JSON, 41);
SAME(LEASH_STR_TEXT, 42);
SAME(LEASH_STR_PEER_ID, 43);

SAME(LEASH_VERSION_NUMBER, 0x000100u);
SAME(LEASH_ABI, 0);
SAME(LEASH_NUL, SIZE_MAX);
SAME(LEASH_NONE, INT64_MIN);

struct functions {
  const char *(*leash_version)(uint32_t *number, uint32_t *abi);
  const char *(*leash_last_error)(void);
  int (*leash_last_os_error)(void);
  leash_opts *(*leash_opts_new)(void);
  void (*leash_opts_free)(leash_opts *opts);
  int (*leash_opts_set_str)(leash_opts *opts, int key, const char *value);
  int (*leash_opts_set_int)(leash_opts *opts, int key, int64_t value);
  int (*leash_opts_set_list)(leash_opts *opts, int key, const char *const *list, size_t n);
  int (*leash_connect)(const char *const *argv, const leash_opts *opts, int64_t timeout_ms, leash_conn **out);
  int (*leash_connect_env)(const char *path, const char *id, const leash_opts *opts, int64_t timeout_ms, leash_conn **out);
  int (*leash_env_list)(const char *path, char *buf, size_t cap, size_t *len);
  int (*leash_fd)(const leash_conn *c);
  int (*leash_poll)(leash_conn *c, int64_t timeout_ms, leash_event **out);
  int (*leash_wake)(leash_conn *c);
  int (*leash_submit)(leash_conn *c, const char *method, const char *params, size_t len, int64_t timeout_ms, int64_t tag, int64_t *id);
  int (*leash_wait)(leash_conn *c, int64_t id, int64_t timeout_ms, leash_event **out);
  int (*leash_call)(leash_conn *c, const char *method, const char *params, size_t len, int64_t timeout_ms, leash_event **out);
  int (*leash_cancel)(leash_conn *c, int64_t id);
  int (*leash_notify)(leash_conn *c, const char *method, const char *params, size_t len);
  int (*leash_flush)(leash_conn *c);
  int (*leash_reply)(leash_event *request, const char *result, size_t len);
  int (*leash_reply_error)(leash_event *request, int64_t rpc_code, const char *message, const char *data, size_t len);
  int (*leash_event_kind)(const leash_event *e);
  int64_t (*leash_event_int)(const leash_event *e, int field);
  const char *(*leash_event_str)(const leash_event *e, int field, size_t *len);
  void (*leash_event_free)(leash_event *e);
  int64_t (*leash_conn_int)(const leash_conn *c, int field);
  int (*leash_close)(leash_conn *c, int64_t timeout_ms);
  void (*leash_free)(leash_conn *c);
};

static const struct functions functions = {
  leash_version, leash_last_error, leash_last_os_error, leash_opts_new, leash_opts_free,
  leash_opts_set_str, leash_opts_set_int, leash_opts_set_list, leash_connect, leash_connect_env,
  leash_env_list, leash_fd, leash_poll, leash_wake, leash_submit, leash_wait, leash_call,
  leash_cancel, leash_notify, leash_flush, leash_reply, leash_reply_error, leash_event_kind,
  leash_event_int, leash_event_str, leash_event_free, leash_conn_int, leash_close, leash_free
};

int main(void) {
  uint32_t number = 0, abi = 9;
  return functions.leash_version(&number, &abi) == NULL || number != LEASH_VERSION_NUMBER ||
         abi != LEASH_ABI;
}
