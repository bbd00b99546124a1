/* What the C runtime itself costs: a call of a network of one tiny operator, and a loop shared among
 * threads, empty or with work. Prints one line of JSON a measurement.
 *
 * Usage: barriers THREADS REPEATS */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tvmcomp.h"

typedef int (*lambda)(int task, void *env, void *data);
__attribute__((weak)) int (*__TVMBackendParallelLaunch)(lambda, void *, int);

#define LOOPS 20 /* in a run: short, so that some runs meet no other program */

static int64_t work_ns; /* of all tasks of a loop together */
static int32_t threads;

static double now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

static double steps_per_ns;

static double count_up(double steps) {
  volatile double sum = 0;
  for (double i = 0; i < steps; i++) sum += i;
  return sum;
}

static int task_of_loop(int task, void *env, void *data) {
  (void)task, (void)env, (void)data;
  if (work_ns) count_up(steps_per_ns * (double)work_ns / threads);
  return 0;
}

static int32_t shared_loops(const tvmcomp_frame *frame) {
  (void)frame;
  for (int i = 0; i < LOOPS; i++)
    if (__TVMBackendParallelLaunch(task_of_loop, NULL, 0)) return -1;
  return 0;
}

static int32_t tiny(const tvmcomp_frame *frame) {
  const float *x = frame->inputs[0];
  float *y = frame->outputs[0];
  for (int i = 0; i < 4; i++) y[i] = x[i] + 1;
  return 0;
}

static const int64_t shape[] = {4};
static const tvmcomp_tensor tensors[] = {{"x", "float32", 1, shape, 16, 64}};
static const char *const names[] = {"kernel"};

static double best_ns(int32_t (*body)(const tvmcomp_frame *), int32_t count, int repeats, int calls) {
  const tvmcomp_network network = {TVMCOMP_ABI, "bench", "", 1, 1, 0, 1, tensors, tensors,
                                   NULL,        NULL,    names, 0, body};
  static _Alignas(64) float x[4], y[4];
  const void *const inputs[] = {x};
  void *const outputs[] = {y};
  tvmcomp_options options = {.threads = count};
  tvmcomp_context *context;
  tvmcomp_status status = tvmcomp_create(&network, &options, &context);
  double best = 1e300;
  for (int i = 0; i < repeats && !status; i++) {
    double start = now_ns();
    for (int call = 0; call < calls && !status; call++) status = tvmcomp_run(context, inputs, outputs);
    double each = (now_ns() - start) / calls;
    if (each < best) best = each;
  }
  tvmcomp_destroy(context);
  if (status) {
    fprintf(stderr, "%s\n", tvmcomp_status_text(status));
    exit(1);
  }
  return best;
}

int main(int count, char **arguments) {
  if (count != 3) return 2;
  threads = atoi(arguments[1]);
  int repeats = atoi(arguments[2]);
  double steps = 1e4, fastest = 1e300; /* short, and often: some meet no other program */
  for (int i = 0; i < 5000; i++) {
    double start = now_ns();
    count_up(steps);
    if (now_ns() - start < fastest) fastest = now_ns() - start;
  }
  steps_per_ns = steps / fastest;
  printf("{\"what\": \"call\", \"threads\": %d, \"ns\": %.1f}\n", threads,
         best_ns(tiny, threads, repeats, 10000));
  static const int64_t works[] = {0, 10000, 100000};
  for (int i = 0; i < 3; i++) {
    work_ns = works[i];
    double each = best_ns(shared_loops, threads, 20 * repeats, 1) / LOOPS;
    printf("{\"what\": \"loop\", \"threads\": %d, \"work_us\": %d, \"ns\": %.1f}\n", threads,
           (int)(work_ns / 1000), each);
  }
  return 0;
}
