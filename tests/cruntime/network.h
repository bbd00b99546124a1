/* A network made by hand, as the code generator and its driver would make it. */
#ifndef NETWORK_H
#define NETWORK_H

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "tvmcomp.h"

#define LENGTH 1000
#define ROW 1008 /* a multiple of 64 bytes */
#define KERNELS 6

/* Inputs x, outputs y of LENGTH int32 and constants c: y = ((x + c0) * 3 + c1) * 3 + ... modulo 2^32, a
 * step a kernel. The even kernels share their work among threads and ask for arrays. */
extern const tvmcomp_network network;
extern const uint32_t constants[KERNELS][ROW];

/* What y must be, worked out in one loop. */
void expected(const uint32_t *x, uint32_t *y);

/* What kernels do beside: which task of which kernel fails (-1: none), and what each task calls. */
extern _Atomic int failing_kernel, failing_task;
extern void (*_Atomic visit)(int task, int tasks);
/* Bytes of the array that each task asks for. */
extern _Atomic uint64_t array_bytes;

#define CHECK(condition)                                                                        \
  do {                                                                                          \
    if (!(condition)) {                                                                         \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                           \
      exit(1);                                                                                  \
    }                                                                                           \
  } while (0)

/* Runs it on new data, and checks the result. */
void check_run(tvmcomp_context *context, uint32_t seed);
/* A context with so many threads, and all else as by default. */
tvmcomp_context *with_threads(int threads);

#endif
