/* The program of a network: its self-test, a run on files, a benchmark. It is linked with the library
 * of any form, so it calls what the network's own header declares. */
#ifndef TVMCOMP_PROGRAM_H
#define TVMCOMP_PROGRAM_H

#include "tvmcomp.h"

#include <stdint.h>

typedef struct {
  const tvmcomp_network *(*info)(void);
  const char *(*missing_feature)(void);
  tvmcomp_status (*create)(const tvmcomp_options *, tvmcomp_context **);
  tvmcomp_status (*run)(tvmcomp_context *, const void *const *, void *const *);
  tvmcomp_status (*time)(tvmcomp_context *, const void *const *, void *const *, int32_t, double *);
  tvmcomp_status (*profile)(tvmcomp_context *, const void *const *, void *const *, tvmcomp_call *,
                            int64_t, int64_t *);
  void (*destroy)(tvmcomp_context *);
  const char *(*status_text)(tvmcomp_status);
  int (*choose)(int32_t shape); /* the shape that all this is of, or -1; NULL where there is but one */
  const void *const *inputs;  /* reference inputs, of the first shape, or NULL */
  const void *const *outputs; /* what they must give */
  double tolerance;           /* as a share of an output's range */
  double within;              /* share of an output's elements that must be within */
} tvmcomp_program;

/* The one of this program; an emitted file defines it. */
extern const tvmcomp_program tvmcomp_this_program;

enum { TVMCOMP_MOST_CORES = 1024 };

/* What the command line says. */
typedef struct {
  int32_t threads;
  int32_t cores[TVMCOMP_MOST_CORES]; /* to run on; none: the system chooses */
  int32_t num_cores;
  int32_t runs; /* of the benchmark */
  int32_t shape;
  int json, profile;
} tvmcomp_arguments;

/* How closely an output repeats its reference. */
typedef struct {
  double largest; /* difference, as a share of the range of the reference */
  double within;  /* share of the elements within the tolerance */
} tvmcomp_agreement;

/* check.c: compares an output with what it must be; NaN equals NaN. */
tvmcomp_agreement tvmcomp_compare(const tvmcomp_tensor *tensor, const void *given,
                                  const void *wanted, double tolerance);

/* bench.c: times the network and prints what was found. `created` is how long its context took to
 * make, in seconds. */
tvmcomp_status tvmcomp_bench(tvmcomp_context *context, const void *const *inputs,
                             void *const *outputs, const tvmcomp_arguments *arguments,
                             double created);

/* bench.c: the largest memory of the process so far. */
long tvmcomp_peak_kib(void);

/* serve.c: answers requests until standard input ends; these are the network's buffers. Gives 0 unless
 * what came was no request, or nothing can be written. */
int tvmcomp_serve(tvmcomp_context *context, void **inputs, void **outputs);

/* main.c: a whole number from `least` on that all of `text` is, or -1. */
int32_t tvmcomp_number(const char *text, int32_t least);

/* bench.c: seconds on a clock that only goes forward. */
double tvmcomp_now(void);

/* json.c: prints a text as JSON, quoted. */
void tvmcomp_print_text(const char *text);
/* json.c: prints `"inputs": [{"name": …}, …]`. */
void tvmcomp_print_tensors(const char *kind, const tvmcomp_tensor *tensors, int32_t count);

#endif
