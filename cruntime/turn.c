/* Turns are a mutex. A fork copies it as it is, locked perhaps by a thread that the child lacks, and
 * copies a pool without its threads; so a child makes both anew when it first uses a context.
 *
 * It must know that it is a child. A context with threads asks for the process's number at each run. For
 * one without that would cost as much as a small network does: it has a page that Linux gives back
 * zeroed after a fork, and looks there. (qemu 7 says it does so and does not, which leaves a child the
 * locked mutex; threads must not hang on that.) pthread_atfork would leave a handler behind when the
 * library is unloaded. */
#define _GNU_SOURCE
#include "turn.h"

#ifdef TVMCOMP_WITHOUT_THREADS
tvmcomp_status tvmcomp_turn_start(tvmcomp_turn *turn, const tvmcomp_pool *pool) {
  (void)turn, (void)pool;
  return TVMCOMP_OK;
}

tvmcomp_status tvmcomp_turn_take(tvmcomp_turn *turn, tvmcomp_pool *pool) {
  (void)turn, (void)pool;
  return TVMCOMP_OK;
}

void tvmcomp_turn_give(tvmcomp_turn *turn) { (void)turn; }

void tvmcomp_turn_end(tvmcomp_turn *turn, tvmcomp_pool *pool) {
  (void)turn;
  tvmcomp_pool_stop(pool);
}
#else
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

/* A thread is making the context anew; no process has this number. */
#define RENEWING UINT32_MAX

/* A page that is zero in a forked process, or NULL. */
static void *wiped_page(void) {
#ifdef MADV_WIPEONFORK
  size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
  void *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return NULL;
  if (!madvise(page, bytes, MADV_WIPEONFORK)) return page;
  munmap(page, bytes);
#endif
  return NULL;
}

/* What `owner` says if the context is this process's. */
static uint32_t own(const tvmcomp_turn *turn) {
  return turn->owner == &turn->number ? (uint32_t)getpid() : 1;
}

static void free_page(tvmcomp_turn *turn) {
  if (turn->owner != &turn->number) munmap((void *)turn->owner, (size_t)sysconf(_SC_PAGESIZE));
}

tvmcomp_status tvmcomp_turn_start(tvmcomp_turn *turn, const tvmcomp_pool *pool) {
  if (pthread_mutex_init(&turn->mutex, NULL)) return TVMCOMP_NO_MEMORY;
  turn->owner = pool->threads == 1 || pool->parallel_for ? wiped_page() : NULL;
  if (!turn->owner) turn->owner = &turn->number;
  atomic_store(turn->owner, own(turn));
  return TVMCOMP_OK;
}

/* Makes the context that a fork has copied this process's own, whichever thread comes first. */
static tvmcomp_status renew(tvmcomp_turn *turn, tvmcomp_pool *pool) {
  for (;;) {
    uint32_t seen = atomic_load_explicit(turn->owner, memory_order_acquire);
    if (seen == own(turn)) return TVMCOMP_OK;
    if (seen == RENEWING) {
      sched_yield();
      continue;
    }
    if (!atomic_compare_exchange_strong(turn->owner, &seen, RENEWING)) continue;
    pthread_mutex_init(&turn->mutex, NULL);
    tvmcomp_status status = tvmcomp_pool_restart(pool);
    atomic_store_explicit(turn->owner, status ? seen : own(turn), memory_order_release);
    return status;
  }
}

tvmcomp_status tvmcomp_turn_take(tvmcomp_turn *turn, tvmcomp_pool *pool) {
  if (atomic_load_explicit(turn->owner, memory_order_acquire) != own(turn)) {
    tvmcomp_status status = renew(turn, pool);
    if (status) return status;
  }
  pthread_mutex_lock(&turn->mutex);
  return TVMCOMP_OK;
}

void tvmcomp_turn_give(tvmcomp_turn *turn) { pthread_mutex_unlock(&turn->mutex); }

void tvmcomp_turn_end(tvmcomp_turn *turn, tvmcomp_pool *pool) {
  if (atomic_load(turn->owner) == own(turn)) {
    tvmcomp_pool_stop(pool);
    pthread_mutex_destroy(&turn->mutex);
  } else {
    tvmcomp_pool_forget(pool);
  }
  free_page(turn);
}
#endif
