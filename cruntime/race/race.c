/* The tuner's program where there is no RPC server: kernels of the same tensors, each a network of its
 * own whose inputs are all that it takes. The tensors' bytes come from standard input.
 *
 *     race time THREADS COPIES ROUNDS MICROSECONDS
 *         seconds of a call as JSON, [[of the first, one a round], ...]: in every round each kernel
 *         runs for about so long, on so many copies of the tensors in turn; fewer rounds where they
 *         would take many seconds
 *     race run THREADS
 *         the tensors' bytes as the first kernel leaves them, then as the second does, ... */
#define _POSIX_C_SOURCE 200112L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tvmcomp.h"

/* An emitted file defines them. */
extern const tvmcomp_network *const tvmcomp_racers[];
extern const int32_t tvmcomp_num_racers;

enum { PAGE = 4096, ALIGNMENT = 64, LEAST_ROUNDS = 5, LONG_SECONDS = 5 };

/* The threads of the kernel before spin for a millisecond, and then sleep. */
static const struct timespec rest = {0, 2000000};

static int fail(const char *what) {
  fprintf(stderr, "error: %s\n", what);
  return 2;
}

/* A place for the tensors of `network`, each somewhere in a page: a kernel can take three times as long
 * where what it loads and what it stores lie a multiple of 4 KiB apart. */
static void **places(const tvmcomp_network *network) {
  void **made = calloc((size_t)network->num_inputs + 1, sizeof *made);
  for (int32_t i = 0; made && i < network->num_inputs; i++) {
    size_t size = ((size_t)network->inputs[i].nbytes / PAGE + 2) * PAGE;
    uint8_t *page = aligned_alloc(PAGE, size);
    if (!page) return NULL; /* the program ends */
    made[i] = page + (size_t)rand() % (PAGE / ALIGNMENT) * ALIGNMENT;
  }
  return made;
}

static void copy(const tvmcomp_network *network, void **from, void **to) {
  for (int32_t i = 0; i < network->num_inputs; i++)
    memcpy(to[i], from[i], (size_t)network->inputs[i].nbytes);
}

/* The mean seconds of `calls` calls, each on the next of the copies; negative where one failed. */
static double measure(tvmcomp_context *context, void ***copies, int32_t count, int64_t calls) {
  double whole = 0.0;
  nanosleep(&rest, NULL);
  for (int64_t i = -1; i < calls; i++) { /* the first wakes the threads */
    double seconds;
    void **inputs = copies[(i + count) % count];
    if (tvmcomp_time(context, (const void *const *)inputs, NULL, 1, &seconds)) return -1.0;
    if (i >= 0) whole += seconds;
  }
  return whole / (double)calls > 1e-9 ? whole / (double)calls : 1e-9;
}

/* Fewer rounds where `seconds`, what one takes at least, are many. */
static int32_t fitting(int32_t rounds, double seconds) {
  double most = LONG_SECONDS / seconds;
  if (rounds <= LEAST_ROUNDS || most >= rounds) return rounds;
  return most > LEAST_ROUNDS ? (int32_t)most : LEAST_ROUNDS;
}

static int time_all(tvmcomp_context **contexts, void ***copies, int32_t count, int32_t rounds,
                    double turn) {
  double *seconds = calloc((size_t)(rounds + 1) * (size_t)tvmcomp_num_racers, sizeof *seconds);
  if (!seconds) return fail("no memory");
  double whole = 0.0;
  for (int32_t round = 0; round <= rounds; round++) /* the first tells how many calls make a turn */
    for (int32_t i = 0; i < tvmcomp_num_racers; i++) {
      double calls = round ? turn / seconds[i] : 1.0;
      double *at = &seconds[(int64_t)round * tvmcomp_num_racers + i];
      *at = measure(contexts[i], copies, count, calls > 1.0 ? (int64_t)calls : 1);
      if (*at < 0.0) return fail("a kernel failed");
      whole += *at;
      if (!round && i + 1 == tvmcomp_num_racers) rounds = fitting(rounds, whole);
    }
  printf("[");
  for (int32_t i = 0; i < tvmcomp_num_racers; i++) {
    printf(i ? ", [" : "[");
    for (int32_t round = 1; round <= rounds; round++)
      printf("%s%.9g", round > 1 ? ", " : "", seconds[(int64_t)round * tvmcomp_num_racers + i]);
    printf("]");
  }
  printf("]\n");
  free(seconds);
  return 0;
}

static int run_all(tvmcomp_context **contexts, void **given, void **own) {
  for (int32_t i = 0; i < tvmcomp_num_racers; i++) {
    const tvmcomp_network *network = tvmcomp_racers[i];
    copy(network, given, own);
    if (tvmcomp_run(contexts[i], (const void *const *)own, NULL)) return fail("a kernel failed");
    for (int32_t at = 0; at < network->num_inputs; at++)
      fwrite(own[at], 1, (size_t)network->inputs[at].nbytes, stdout);
  }
  return 0;
}

int main(int argc, char **argv) {
  int timed = argc == 6 && !strcmp(argv[1], "time");
  if (!timed && (argc != 3 || strcmp(argv[1], "run"))) return fail("another command line");
  tvmcomp_options options = {.threads = atoi(argv[2])};
  int32_t count = timed ? atoi(argv[3]) : 1;
  const tvmcomp_network *first = tvmcomp_racers[0];
  void **given = places(first);
  void ***copies = calloc((size_t)count + 1, sizeof *copies);
  tvmcomp_context **contexts = calloc((size_t)tvmcomp_num_racers, sizeof *contexts);
  if (!given || !copies || !contexts) return fail("no memory");
  for (int32_t i = 0; i < first->num_inputs; i++)
    if (fread(given[i], 1, (size_t)first->inputs[i].nbytes, stdin) != first->inputs[i].nbytes)
      return fail("the tensors are cut off");
  for (int32_t i = 0; i < count; i++) {
    copies[i] = places(first);
    if (!copies[i]) return fail("no memory");
    copy(first, given, copies[i]);
  }
  for (int32_t i = 0; i < tvmcomp_num_racers; i++) {
    tvmcomp_status status = tvmcomp_create(tvmcomp_racers[i], &options, &contexts[i]);
    if (status) return fail(tvmcomp_status_text(status));
  }
  int result = timed ? time_all(contexts, copies, count, atoi(argv[4]), 1e-6 * atof(argv[5]))
                     : run_all(contexts, given, copies[0]);
  if (fflush(stdout)) return fail("standard output can't be written");
  return result; /* the system takes the rest back */
}
