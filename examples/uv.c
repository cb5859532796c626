/* uv METHOD PARAMS SERVER [ARGUMENT...]: fifty calls at once in a libuv loop, answered as it pleases
 * the server, each found again by its tag.
 * cc uv.c -luv -lleash; ./a.out sleep '[0.1]' deltachat-rpc-server */
#include <leash.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum { CALLS = 50 };

static leash_conn *server;
static const char *method, *params;
static uv_poll_t events;
static uv_timer_t timer;
static int answered, failed, ticks;

static void submit_all(void) {
  for (int tag = 1; tag <= CALLS; tag++) {
    if (leash_submit(server, method, params, LEASH_NUL, 20000, tag, NULL) == 0) continue;
    fprintf(stderr, "call %d: %s\n", tag, leash_last_error());
    failed++;
  }
}

static void on_answer(const leash_event *e) {
  int tag = (int)leash_event_int(e, LEASH_INT_TAG), status = (int)leash_event_int(e, LEASH_INT_STATUS);
  const char *text = leash_event_str(e, status < 0 ? LEASH_STR_TEXT : LEASH_STR_JSON, NULL);
  printf("call %d: %s\n", tag, text ? text : "");
  failed += status < 0;
  if (++answered + failed >= CALLS) leash_close(server, 0); /* begins; CLOSED comes by the loop */
}

/* libuv watches by epoll, level-triggered: the descriptor is readable until all events are taken. */
static void on_readable(uv_poll_t *handle, int status, int what) {
  (void)handle, (void)status, (void)what;
  leash_event *e;
  for (; leash_poll(server, 0, &e) == 1; leash_event_free(e)) {
    switch (leash_event_kind(e)) {
      case LEASH_EVENT_OPEN: submit_all(); break;
      case LEASH_EVENT_RESPONSE: on_answer(e); break;
      case LEASH_EVENT_STDERR: fprintf(stderr, "%s\n", leash_event_str(e, LEASH_STR_TEXT, NULL)); break;
      case LEASH_EVENT_CLOSED:
        printf("%s; answered %d, ticks %d\n", leash_event_str(e, LEASH_STR_TEXT, NULL), answered, ticks);
        failed += leash_event_int(e, LEASH_INT_STATUS) != 0;
        uv_close((uv_handle_t *)&events, NULL); /* before leash_free, which closes the descriptor */
        uv_close((uv_handle_t *)&timer, NULL);
        break;
      default: break; /* kinds that may come one day */
    }
  }
}

static void on_tick(uv_timer_t *handle) { (void)handle, ticks++; }

int main(int argc, char **argv) {
  if (argc < 4) return fprintf(stderr, "usage: %s METHOD PARAMS SERVER [ARGUMENT...]\n", argv[0]), 2;
  method = argv[1], params = argv[2];
  /* A limit of 0 does not wait: OPEN or CLOSED comes as an event. */
  if (leash_connect((const char *const *)argv + 3, NULL, 0, &server) < 0)
    return fprintf(stderr, "%s\n", leash_last_error()), 1;
  uv_poll_init(uv_default_loop(), &events, leash_fd(server));
  uv_poll_start(&events, UV_READABLE, on_readable);
  uv_timer_init(uv_default_loop(), &timer);
  uv_timer_start(&timer, on_tick, 10, 10);
  uv_run(uv_default_loop(), UV_RUN_DEFAULT); /* until both are closed */
  leash_free(server);
  return failed != 0;
}
