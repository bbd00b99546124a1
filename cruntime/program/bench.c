/* The benchmark: latencies of single runs, and the time of each kernel. */
#define _POSIX_C_SOURCE 200112L
#include "program.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

/* Of all runs, one a kernel. */
typedef struct {
  double *seconds;
  int64_t *calls;
} profile;

double tvmcomp_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The smallest of `count` sorted values that `share` of them do not exceed, in ms. */
static double percentile(const double *sorted, int32_t count, double share) {
  int32_t at = (int32_t)(share * count);
  return 1e3 * sorted[at < count ? at : count - 1];
}

long tvmcomp_peak_kib(void) {
  struct rusage usage;
  return getrusage(RUSAGE_SELF, &usage) ? 0 : usage.ru_maxrss;
}

static void print_profile(const tvmcomp_network *network, const profile *of, int32_t runs, int json) {
  if (json) printf(", \"kernels\": [");
  for (int32_t i = 0; i < network->num_kernels; i++) {
    double ms = 1e3 * of->seconds[i] / runs;
    long long calls = (long long)of->calls[i] / runs;
    if (json) {
      printf("%s{\"kernel\": ", i ? ", " : "");
      tvmcomp_print_text(network->kernels[i]);
      printf(", \"calls\": %lld, \"ms\": %.6f}", calls, ms);
    } else {
      printf("%10.4f ms %6lld calls  %s\n", ms, calls, network->kernels[i]);
    }
  }
  if (json) printf("]");
}

static void print(const tvmcomp_arguments *arguments, double created, double first, double *seconds,
                  const profile *of) {
  const tvmcomp_network *network = tvmcomp_this_program.info();
  int32_t runs = arguments->runs;
  if (arguments->json) {
    printf("{\"network\": ");
    tvmcomp_print_text(network->name);
    printf(", \"threads\": %d, \"create_ms\": %.6f, \"first_ms\": %.6f, \"peak_kib\": %ld",
           (int)arguments->threads, 1e3 * created, 1e3 * first, tvmcomp_peak_kib());
    printf(", \"workspace_bytes\": %llu, \"ms\": [", (unsigned long long)network->workspace);
    for (int32_t i = 0; i < runs; i++) printf("%s%.6f", i ? ", " : "", 1e3 * seconds[i]);
    printf("]");
  }
  qsort(seconds, (size_t)runs, sizeof *seconds, by_size);
  double least = 1e3 * seconds[0], p50 = percentile(seconds, runs, 0.5);
  double p90 = percentile(seconds, runs, 0.9), p99 = percentile(seconds, runs, 0.99);
  if (arguments->json) {
    printf(", \"min_ms\": %.6f, \"p50_ms\": %.6f, \"p90_ms\": %.6f, \"p99_ms\": %.6f", least, p50,
           p90, p99);
  } else {
    printf("%s: %d threads, %d runs\n", network->name, (int)arguments->threads, (int)runs);
    printf("minimum %.4f ms, p50 %.4f, p90 %.4f, p99 %.4f\n", least, p50, p90, p99);
    printf("context made in %.3f ms, first run %.3f ms, peak memory %ld KiB\n", 1e3 * created,
           1e3 * first, tvmcomp_peak_kib());
  }
  if (of) print_profile(network, of, runs, arguments->json);
  if (arguments->json) printf("}\n");
}

/* Adds up what the calls of `runs` runs take. */
static tvmcomp_status measure(tvmcomp_context *context, const void *const *inputs,
                              void *const *outputs, int32_t runs, const profile *to) {
  int64_t count;
  tvmcomp_status status =
      tvmcomp_this_program.profile(context, inputs, outputs, NULL, 0, &count);
  tvmcomp_call *calls = malloc(((size_t)(status ? 0 : count) + 1) * sizeof *calls);
  if (!status && !calls) status = TVMCOMP_NO_MEMORY;
  for (int32_t run = 0; run < runs && !status; run++) {
    status = tvmcomp_this_program.profile(context, inputs, outputs, calls, count, &count);
    for (int64_t i = 0; i < count && !status; i++) {
      to->seconds[calls[i].kernel] += calls[i].seconds;
      to->calls[calls[i].kernel]++;
    }
  }
  free(calls);
  return status;
}

tvmcomp_status tvmcomp_bench(tvmcomp_context *context, const void *const *inputs,
                             void *const *outputs, const tvmcomp_arguments *arguments,
                             double created) {
  const tvmcomp_program *program = &tvmcomp_this_program;
  int32_t runs = arguments->runs;
  size_t kernels = (size_t)program->info()->num_kernels;
  double *seconds = malloc(((size_t)runs + 1) * sizeof *seconds);
  profile of = {calloc(kernels + 1, sizeof *of.seconds), calloc(kernels + 1, sizeof *of.calls)};
  tvmcomp_status status = seconds && of.seconds && of.calls ? TVMCOMP_OK : TVMCOMP_NO_MEMORY;
  double first = 0;
  if (!status) status = program->time(context, inputs, outputs, 1, &first);
  /* A tenth more, as warm-up. */
  if (!status) status = program->time(context, inputs, outputs, runs / 10 + 1, seconds);
  if (!status) status = program->time(context, inputs, outputs, runs, seconds);
  if (!status && arguments->profile) status = measure(context, inputs, outputs, runs, &of);
  if (!status) print(arguments, created, first, seconds, arguments->profile ? &of : NULL);
  free(of.calls);
  free(of.seconds);
  free(seconds);
  return status;
}
