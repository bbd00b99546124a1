/* Waiting for another thread without sleeping. Include it after defining _GNU_SOURCE. */
#ifndef TVMCOMP_SPIN_H
#define TVMCOMP_SPIN_H

#include <sched.h>
#include <stdatomic.h>

#include "clock.h"

/* Between two looks at the clock, and offers of the core to another thread. */
#define TVMCOMP_SPINS 64

static inline void tvmcomp_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  __asm__ volatile("yield");
#endif
}

/* Waits until *word is not `old`, for `limit` ns if it is not negative; returns whether it is. */
static inline int tvmcomp_spin_while(_Atomic uint32_t *word, uint32_t old, int64_t limit,
                                     int32_t crowded) {
  int64_t end = -1;
  for (uint32_t i = 1; atomic_load_explicit(word, memory_order_acquire) == old; i++) {
    /* The thread that is waited for may need this very core. */
    if (!crowded && i % TVMCOMP_SPINS) {
      tvmcomp_pause();
      continue;
    }
    sched_yield();
    if (limit < 0) continue;
    if (end < 0) end = tvmcomp_now_ns() + limit;
    if (tvmcomp_now_ns() >= end) return atomic_load_explicit(word, memory_order_acquire) != old;
  }
  return 1;
}

#endif
