/* What each client measures, and how it says so: one line of JSON. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SECONDS 0.7
#define SIZE 16000000
#define FLOOD 20000

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, size_t n) {
  qsort(values, n, sizeof *values, compare);
  return values[n / 2];
}

/* The client's part: so many calls at once, all answered; one call with one number. */
static void batch(int outstanding);
static void call(const char *method, int size);

/* The server that listens has no blobs and floods. */
static void measure(int has_only_calls) {
  static const int OUTSTANDING[] = {1, 8, 64};
  static double times[1 << 20];
  double large[3], p50 = 0;
  for (int i = 0; i < 200; i++) batch(1);
  printf("{");
  for (int i = 0; i < 3; i++) {
    size_t n = 0;
    double begun = now(), before = begun, after = begun;
    for (; after - begun < SECONDS && n < sizeof times / sizeof *times; before = after) {
      batch(OUTSTANDING[i]);
      after = now();
      times[n++] = after - before;
    }
    printf("\"calls_%d\": %f, ", OUTSTANDING[i], (double)n * OUTSTANDING[i] / (after - begun));
    if (i == 0) p50 = median(times, n) * 1e6;
  }
  if (has_only_calls) {
    printf("\"p50_us\": %f}\n", p50);
    return;
  }
  for (int i = 0; i < 3; i++) {
    double before = now();
    call("blob", SIZE);
    large[i] = now() - before;
  }
  double before = now();
  call("flood", FLOOD);
  printf("\"p50_us\": %f, \"large_ms\": %f, \"notifications\": %f}\n", p50, median(large, 3) * 1e3,
         FLOOD / (now() - before));
}
