/* Binding threads to cores. */
#ifndef TVMCOMP_AFFINITY_H
#define TVMCOMP_AFFINITY_H

#include <stdint.h>

#include "kernel_imports.h"

/* Which cores a thread may run on, in the system's form. */
typedef struct {
  unsigned long bits[1024 / 8 / sizeof(unsigned long)]; /* as cpu_set_t, for 1024 cores */
} tvmcomp_affinity;

/* All of them return 0, or -1 where the system refuses or there is no such thing. */
TVMCOMP_HIDDEN int tvmcomp_affinity_get(tvmcomp_affinity *affinity);
TVMCOMP_HIDDEN int tvmcomp_affinity_set(const tvmcomp_affinity *affinity);
/* Binds the calling thread as the thread number `index` of `threads` of a context. */
TVMCOMP_HIDDEN int tvmcomp_bind(int32_t index, int32_t threads, const int32_t *cores, int32_t num_cores);
/* On how many cores the calling thread may run; 0: not known. */
TVMCOMP_HIDDEN int32_t tvmcomp_affinity_count(void);

#endif
