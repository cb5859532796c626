/* Everything at once, for a while: 8 threads on 64 connections submit, call, wait, cancel,
 * notify, crash their servers and begin anew. Both sides keep a ledger. The server's answers
 * are all accounted for when a connection ends well, and each request has one response
 * however it ends. */
#include "check.h"


#define THREADS 8
#define SLOTS 64
#define OWNED (SLOTS / THREADS)
/* Ids of one connection; it is closed long before. */
#define IDS 60000
#define TAG 7

enum { UNKNOWN, OPEN, ANSWERED };

struct slot {
  /* Read by who calls, written by the owner when it connects anew. */
  pthread_rwlock_t lock;
  leash_conn *c;
  /* By other threads, too. */
  int64_t called, late_calls, answered_calls;
  /* The owner's alone. */
  int64_t submitted, answered, given_up, noise, told, notified, pending, last;
  unsigned char *calls;
  int is_over;
};

struct totals {
  int64_t connections, clean, crashed, killed, freed, requests, cancelled, timed_out;
  int64_t late, notifications, heard;
};

static struct slot slots[SLOTS];
static struct totals sum;
static pthread_mutex_t sum_lock = PTHREAD_MUTEX_INITIALIZER;
static char **server;
static int64_t until;

#define ADD(counter, n) __atomic_fetch_add(&(counter), (n), __ATOMIC_SEQ_CST)
#define GET(counter) __atomic_load_n(&(counter), __ATOMIC_SEQ_CST)

static unsigned some(unsigned *seed, unsigned below) {
  *seed = *seed * 1103515245u + 12345u;
  return (*seed >> 16) % below;
}

static void begin(struct slot *s) {
  leash_opts *opts = with(LEASH_OPT_EXIT_AFTER, 20000);
  CHECK_INT(leash_opts_set_int(opts, LEASH_OPT_QUEUE_EVENTS, 1000000), 0);
  pthread_rwlock_wrlock(&s->lock);
  s->called = s->late_calls = s->answered_calls = 0;
  s->submitted = s->answered = s->given_up = s->noise = s->told = s->notified = s->pending = 0;
  s->last = s->is_over = 0;
  memset(s->calls, UNKNOWN, IDS);
  s->c = start(server, opts);
  pthread_rwlock_unlock(&s->lock);
  leash_opts_free(opts);
}

/* One response, of a call that had none. */
static void response(struct slot *s, const leash_event *e) {
  int64_t id = num(e, LEASH_INT_CALL), status = num(e, LEASH_INT_STATUS);
  CHECK(id > 0 && id < IDS);
  CHECK_INT(s->calls[id], OPEN);
  CHECK_INT(num(e, LEASH_INT_TAG), TAG);
  s->calls[id] = ANSWERED;
  s->pending--;
  if (status == 0) {
    CHECK(json(e) && json(e)[0] == '[');
    s->answered++;
    return;
  }
  CHECK(status == LEASH_E_CANCELLED || status == LEASH_E_TIMEOUT || status == LEASH_E_CLOSED);
  if (status == LEASH_E_CLOSED) return;
  s->given_up++;
  pthread_mutex_lock(&sum_lock);
  if (status == LEASH_E_CANCELLED) sum.cancelled++;
  else sum.timed_out++;
  pthread_mutex_unlock(&sum_lock);
}

static void take(struct slot *s, leash_event *e) {
  char wanted[40];
  switch (leash_event_kind(e)) {
  case LEASH_EVENT_OPEN: break;
  case LEASH_EVENT_RESPONSE: response(s, e); break;
  case LEASH_EVENT_NOTIFY:
    /* None lost, none twice, in order. */
    snprintf(wanted, sizeof wanted, "[%lld]", (long long)s->told++);
    CHECK_TEXT(json(e), wanted);
    break;
  case LEASH_EVENT_NOISE: s->noise++; break;
  case LEASH_EVENT_STDERR: break;
  case LEASH_EVENT_CLOSED:
    s->is_over = 1;
    CHECK_INT(num(e, LEASH_INT_LEFT), 0);
    break;
  default: failed(__FILE__, __LINE__, "an event of this kind");
  }
  leash_event_free(e);
}

static void poll_all(struct slot *s, int64_t timeout) {
  leash_event *e = NULL;
  while (!s->is_over && leash_poll(s->c, timeout, &e) == 1) take(s, e);
}

static void submit_one(struct slot *s, unsigned *seed) {
  static const char *const params[] = { "[0,1]", "[1]", "[3,\"x\"]", "[10]" };
  const char *method = some(seed, 4) ? "work" : "later";
  int64_t id = 0, limit = some(seed, 8) ? LONG : 1 + some(seed, 3);
  if (s->last + 2000 > IDS) return;
  int n = leash_submit(s->c, method, params[some(seed, 4)], LEASH_NUL, limit, TAG, &id);
  if (n == LEASH_E_CLOSED) return;
  CHECK_INT(n, 0);
  CHECK(id > s->last && id < IDS);
  s->last = id;
  s->calls[id] = OPEN;
  s->submitted++;
  s->pending++;
}

/* An id that may be open. */
static int64_t recent(const struct slot *s, unsigned *seed) {
  return s->last > 0 ? s->last - some(seed, s->last < 20 ? (unsigned)s->last : 20) : 1;
}

static void wait_one(struct slot *s, unsigned *seed) {
  int64_t id = recent(s, seed);
  leash_event *e = NULL;
  if (s->calls[id] != OPEN) return;
  int n = leash_wait(s->c, id, some(seed, 3), &e);
  CHECK(n == 0 || n == 1);
  if (n == 1) take(s, e);
}

static void notify_one(struct slot *s) {
  char params[40];
  snprintf(params, sizeof params, "[%lld]", (long long)s->notified);
  int n = leash_notify(s->c, "heard", params, LEASH_NUL);
  CHECK(n == 0 || n == LEASH_E_CLOSED);
  s->notified += n == 0;
}

/* A call on anybody's connection, which may be ending. */
static void call_any(unsigned *seed) {
  struct slot *s = &slots[some(seed, SLOTS)];
  char params[40];
  leash_event *e = NULL;
  if (pthread_rwlock_tryrdlock(&s->lock) != 0) return;
  if (!s->c) {
    pthread_rwlock_unlock(&s->lock);
    return;
  }
  snprintf(params, sizeof params, "[%u,\"%u\"]", some(seed, 3), *seed);
  ADD(s->called, 1);
  int64_t limit = some(seed, 10) ? LONG : 1;
  int n = leash_call(s->c, "work", params, LEASH_NUL, limit, &e);
  if (n == 0) {
    CHECK_TEXT(json(e), params);
    leash_event_free(e);
    ADD(s->answered_calls, 1);
  } else if (n == LEASH_E_TIMEOUT || n == LEASH_E_CANCELLED) {
    ADD(s->late_calls, 1);
  } else {
    CHECK_INT(n, LEASH_E_CLOSED);
  }
  pthread_rwlock_unlock(&s->lock);
}

/* The server's own count, against ours. No other thread is calling. */
static void reckon(struct slot *s) {
  leash_event *e = call(s->c, "count", NULL);
  long long requests, notifications, answers, told, disordered;
  CHECK_INT(sscanf(json(e), "[%lld,%lld,%lld,%lld,%lld]", &requests, &notifications, &answers, &told,
                   &disordered),
            5);
  leash_event_free(e);
  /* What came before the count was read before it. */
  poll_all(s, 0);
  CHECK_INT(s->pending, 0);
  CHECK_INT(requests, s->submitted + s->called + 1);
  CHECK_INT(notifications, s->notified);
  CHECK_INT(disordered, 0);
  CHECK_INT(told, s->told);
  CHECK_INT(answers, s->answered + s->answered_calls + s->noise);
  CHECK_INT(s->noise, s->given_up + s->late_calls);
}

static void end(struct slot *s, unsigned *seed) {
  unsigned how = some(seed, 8);
  int64_t *which = &sum.clean;
  /* From here on nobody else uses it; a crash in the middle of calls came before. */
  if (how == 0) {
    int64_t id;
    which = &sum.crashed;
    if (leash_submit(s->c, "crash", NULL, 0, LONG, TAG, &id) == 0) {
      s->calls[id] = OPEN;
      s->submitted++;
      s->pending++;
    }
  } else if (how == 1) {
    which = &sum.killed;
    kill((pid_t)leash_conn_int(s->c, LEASH_INT_PID), SIGKILL);
  }
  pthread_rwlock_wrlock(&s->lock);
  if (how == 2) {
    which = &sum.freed;
    leash_free(s->c);
  } else {
    if (how > 2) reckon(s);
    if (how == 0) while (!s->is_over) poll_all(s, LONG);
    CHECK_INT(leash_close(s->c, LONG), 0);
    while (!s->is_over) poll_all(s, LONG);
    CHECK_INT(s->pending, 0);
    leash_free(s->c);
  }
  s->c = NULL;
  pthread_mutex_lock(&sum_lock);
  ++*which;
  sum.connections++;
  sum.requests += s->submitted + s->called;
  sum.late += s->noise;
  sum.notifications += s->told;
  sum.heard += s->notified;
  pthread_mutex_unlock(&sum_lock);
  pthread_rwlock_unlock(&s->lock);
}

static void *work(void *arg) {
  struct slot *own = (struct slot *)arg;
  unsigned seed = (unsigned)(own - slots) * 7919u + 17u;
  for (int i = 0; i < OWNED; i++) begin(&own[i]);
  while (now() < until) {
    struct slot *s = &own[some(&seed, OWNED)];
    switch (some(&seed, 12)) {
    case 0: case 1: case 2: submit_one(s, &seed); break;
    case 3: wait_one(s, &seed); break;
    case 4: if (s->last) leash_cancel(s->c, recent(s, &seed)); break;
    case 5: notify_one(s); break;
    case 6: case 7: call_any(&seed); break;
    default: poll_all(s, 0); break;
    }
    if (s->is_over || some(&seed, 400) == 0) {
      end(s, &seed);
      begin(s);
    }
  }
  for (int i = 0; i < OWNED; i++) end(&own[i], &seed);
  return NULL;
}

/* Resident memory, in KiB. */
static int64_t memory(void) {
  long long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  CHECK(f != NULL);
  CHECK_INT(fscanf(f, "%*d %lld", &pages), 1);
  fclose(f);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void run_for(int64_t seconds) {
  pthread_t threads[THREADS];
  until = now() + seconds * 1000;
  for (int i = 0; i < THREADS; i++) threads[i] = thread(work, &slots[i * OWNED]);
  for (int i = 0; i < THREADS; i++) join(threads[i]);
}

static void soak(char **argv) {
  int64_t seconds = atoll(getenv("SECONDS_TO_RUN"));
  server = argv;
  for (int i = 0; i < SLOTS; i++) {
    CHECK_INT(pthread_rwlock_init(&slots[i].lock, NULL), 0);
    slots[i].calls = (unsigned char *)calloc(1, IDS);
  }
  /* The first part shows how much is needed, and the second that it is not more. */
  run_for(seconds / 4);
  int64_t kib = memory();
  int descriptors = entries("/proc/self/fd"), threads = entries("/proc/self/task");
  run_for(seconds - seconds / 4);
  CHECK_INT(entries("/proc/self/fd"), descriptors);
  CHECK_INT(entries("/proc/self/task"), threads);
  printf("%lld connections: %lld closed, %lld crashed, %lld killed, %lld freed\n",
         (long long)sum.connections, (long long)sum.clean, (long long)sum.crashed,
         (long long)sum.killed, (long long)sum.freed);
  printf("%lld requests; %lld cancelled, %lld timed out, %lld late answers\n",
         (long long)sum.requests, (long long)sum.cancelled, (long long)sum.timed_out,
         (long long)sum.late);
  printf("%lld notifications came, %lld went\n", (long long)sum.notifications, (long long)sum.heard);
  printf("resident: %lld KiB after a quarter, %lld KiB at the end\n", (long long)kib,
         (long long)memory());
  if (!getenv("UNCOUNTED")) CHECK(memory() < kib + kib / 4 + 4096);
  CHECK(sum.connections > SLOTS && sum.requests > 1000 && sum.notifications > 1000);
  for (int i = 0; i < SLOTS; i++) free(slots[i].calls);
}

static const struct scenario all[] = { SCENARIO(soak) };
MAIN(all)
