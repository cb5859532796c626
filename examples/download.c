/* download FILE-URL FOLDER ARIA2-URL: fetch a file by an aria2 that listens, with a bar that moves.
 * cc download.c -lleash; aria2c --enable-rpc & ./a.out https://... . ws://127.0.0.1:6800/jsonrpc */
#include <leash.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVERY_MS = 100, WIDTH = 40 };

static int failed(const char *what) {
  fprintf(stderr, "\n%s: %s\n", what, leash_last_error());
  return 1;
}

/* The number behind "name":" in a JSON object. A real host asks its JSON parser. */
static long long number(const char *json, const char *name) {
  const char *found = strstr(json, name);
  return found ? atoll(found + strlen(name) + 3) : 0;
}

/* Text as a JSON string: here a URL or path, of which only these two need care. */
static void quote(char *to, size_t size, const char *text) {
  char *end = to + size - 3;
  *to++ = '"';
  for (; *text && to < end; *to++ = *text++)
    if (*text == '"' || *text == '\\') *to++ = '\\';
  strcpy(to, "\"");
}

static void draw(long long done, long long total) {
  int full = total > 0 ? (int)(done * WIDTH / total) : 0;
  printf("\r[%.*s%*s] %lld of %lld KB", full, "########################################",
         WIDTH - full, "", done / 1000, total / 1000);
  fflush(stdout);
}

/* Ask how far it is. True when it could be told. */
static int progress(leash_conn *aria2, const char *gid) {
  char params[128];
  leash_event *e = NULL;
  snprintf(params, sizeof params, "[%s,[\"completedLength\",\"totalLength\"]]", gid);
  int status = leash_call(aria2, "aria2.tellStatus", params, LEASH_NUL, 5000, &e);
  const char *json = status == 0 ? leash_event_str(e, LEASH_STR_JSON, NULL) : NULL;
  if (json) draw(number(json, "completedLength"), number(json, "totalLength"));
  leash_event_free(e);
  return status == 0;
}

/* Until aria2 notifies the end of it. */
static int watch(leash_conn *aria2, const char *gid) {
  for (;;) {
    leash_event *e = NULL;
    int got = leash_poll(aria2, EVERY_MS, &e), kind = leash_event_kind(e);
    const char *method = leash_event_str(e, LEASH_STR_METHOD, NULL);
    const char *json = leash_event_str(e, LEASH_STR_JSON, NULL);
    int ours = method && json && strstr(json, gid);
    int is_done = ours && strcmp(method, "aria2.onDownloadComplete") == 0;
    int is_lost = (ours && strcmp(method, "aria2.onDownloadError") == 0) || kind == LEASH_EVENT_CLOSED;
    leash_event_free(e);
    if (got < 0 || !progress(aria2, gid)) return failed("aria2");
    if (is_done) return puts("\ndone"), 0;
    if (is_lost) return fputs("\naria2 could not fetch it\n", stderr), 1;
  }
}

int main(int argc, char **argv) {
  if (argc != 4) return fprintf(stderr, "usage: %s FILE-URL FOLDER ARIA2-URL\n", argv[0]), 2;
  char url[2048], folder[2048], params[5000], gid[64] = "";
  leash_conn *aria2;
  leash_opts *opts = leash_opts_new();
  int status = leash_opts_set_str(opts, LEASH_OPT_URL, argv[3]);
  if (status == 0) status = leash_connect(NULL, opts, 5000, &aria2);
  if (status < 0) failed("leash_connect");
  leash_opts_free(opts);
  if (status < 0) return 1;

  leash_event *e = NULL;
  quote(url, sizeof url, argv[1]), quote(folder, sizeof folder, argv[2]);
  snprintf(params, sizeof params, "[[%s],{\"dir\":%s}]", url, folder);
  status = leash_call(aria2, "aria2.addUri", params, LEASH_NUL, 5000, &e);
  if (status == 0) snprintf(gid, sizeof gid, "%s", leash_event_str(e, LEASH_STR_JSON, NULL));
  leash_event_free(e);
  status = status < 0 ? failed("aria2.addUri") : watch(aria2, gid);
  leash_free(aria2); /* aria2 itself goes on: it was not ours */
  return status;
}
