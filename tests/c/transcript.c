/* Prints what a connection delivers, for a test that knows what was sent: LSP or lines by
 * $FRAMING, $CALLS calls first, then every event up to the notification `end`. */
#include "check.h"

static void part(const leash_event *e, int field, size_t *len) {
  if (!leash_event_str(e, field, len)) *len = SIZE_MAX;
}

/* kind, status, call, and the lengths of the four texts, -1 for none; then the texts. */
static void print(const leash_event *e) {
  static const int fields[] = { LEASH_STR_METHOD, LEASH_STR_JSON, LEASH_STR_TEXT, LEASH_STR_PEER_ID };
  size_t len[4];
  int64_t status = num(e, LEASH_INT_STATUS), call = num(e, LEASH_INT_CALL);
  printf("%d %lld %lld", leash_event_kind(e), (long long)(status == LEASH_NONE ? 0 : status),
         (long long)(call == LEASH_NONE ? 0 : call));
  for (int i = 0; i < 4; i++) {
    part(e, fields[i], &len[i]);
    printf(" %lld", len[i] == SIZE_MAX ? -1LL : (long long)len[i]);
  }
  printf("\n");
  for (int i = 0; i < 4; i++)
    if (len[i] != SIZE_MAX) fwrite(leash_event_str(e, fields[i], NULL), 1, len[i], stdout);
  printf("\n");
}

static void transcript(char **server) {
  int is_lsp = strcmp(getenv("FRAMING"), "lsp") == 0, calls = atoi(getenv("CALLS"));
  leash_conn *c = start_with(server, LEASH_OPT_PROTOCOL, is_lsp ? LEASH_PROTOCOL_LSP : LEASH_PROTOCOL_JSONRPC);
  SKIP(c, LEASH_EVENT_OPEN);
  for (int i = 0; i < calls; i++) submit(c, "x", NULL, i);
  for (int is_over = 0; !is_over;) {
    leash_event *e = next(c);
    if (leash_event_kind(e) == LEASH_EVENT_CLOSED) failed(__FILE__, __LINE__, text(e));
    is_over = leash_event_kind(e) == LEASH_EVENT_NOTIFY && strcmp(str(e, LEASH_STR_METHOD), "end") == 0;
    if (!is_over) print(e);
    leash_event_free(e);
  }
  CHECK_INT(leash_close(c, LONG), 0);
  leash_free(c);
}

static const struct scenario all[] = { SCENARIO(transcript) };
MAIN(all)
