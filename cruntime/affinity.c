/* Binding threads to cores, where the system is Linux. */
#define _GNU_SOURCE
#include "affinity.h"

#include <string.h>

#if defined(__linux__) && !defined(TVMCOMP_WITHOUT_THREADS)
#include <sched.h>

_Static_assert(sizeof(cpu_set_t) <= sizeof(tvmcomp_affinity), "a cpu_set_t fits");

int tvmcomp_affinity_get(tvmcomp_affinity *affinity) {
  return sched_getaffinity(0, sizeof *affinity, (cpu_set_t *)affinity->bits) < 0 ? -1 : 0;
}

int tvmcomp_affinity_set(const tvmcomp_affinity *affinity) {
  return sched_setaffinity(0, sizeof *affinity, (const cpu_set_t *)affinity->bits) < 0 ? -1 : 0;
}

int tvmcomp_bind(int32_t index, int32_t threads, const int32_t *cores, int32_t num_cores) {
  tvmcomp_affinity affinity;
  memset(&affinity, 0, sizeof affinity);
  int32_t first = num_cores < threads ? 0 : index;
  int32_t last = num_cores < threads ? num_cores : index + 1;
  for (int32_t i = first; i < last; i++) {
    if (cores[i] < 0 || cores[i] >= CPU_SETSIZE) return -1;
    CPU_SET_S(cores[i], sizeof affinity, (cpu_set_t *)affinity.bits);
  }
  return tvmcomp_affinity_set(&affinity);
}

int32_t tvmcomp_affinity_count(void) {
  tvmcomp_affinity affinity;
  memset(&affinity, 0, sizeof affinity);
  if (tvmcomp_affinity_get(&affinity)) return 0;
  return CPU_COUNT_S(sizeof affinity, (cpu_set_t *)affinity.bits);
}
#else
int tvmcomp_affinity_get(tvmcomp_affinity *affinity) {
  (void)affinity;
  return -1;
}

int tvmcomp_affinity_set(const tvmcomp_affinity *affinity) {
  (void)affinity;
  return -1;
}

int tvmcomp_bind(int32_t index, int32_t threads, const int32_t *cores, int32_t num_cores) {
  (void)index, (void)threads, (void)cores, (void)num_cores;
  return -1;
}

int32_t tvmcomp_affinity_count(void) { return 0; }
#endif
