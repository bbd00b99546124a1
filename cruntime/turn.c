/* Turns are a mutex. A fork copies it as it is, locked perhaps by a thread that the child lacks, so a
 * child makes it anew when it first uses a context.
 *
 * It must know that it is a child. Asking for the process's number costs more than a small network
 * does. A page that Linux gives back zeroed after a fork costs one look at memory; and no handler is
 * left behind when the library is unloaded, as pthread_atfork would. (qemu 7 says that it does so and
 * does not: there a child may wait for ever where a thread of its parent was within a run.) */
#define _GNU_SOURCE
#include "turn.h"

#ifdef TVMCOMP_WITHOUT_THREADS
tvmcomp_status tvmcomp_turn_start(tvmcomp_turn *turn) {
  (void)turn;
  return TVMCOMP_OK;
}

void tvmcomp_turn_take(tvmcomp_turn *turn) { (void)turn; }

void tvmcomp_turn_give(tvmcomp_turn *turn) { (void)turn; }

void tvmcomp_turn_end(tvmcomp_turn *turn) { (void)turn; }
#else
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

/* A thread is making the mutex anew; no process has this number. */
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

/* What `owner` says if the mutex is this process's. */
static uint32_t own(const tvmcomp_turn *turn) {
  return turn->owner == &turn->number ? (uint32_t)getpid() : 1;
}

tvmcomp_status tvmcomp_turn_start(tvmcomp_turn *turn) {
  if (pthread_mutex_init(&turn->mutex, NULL)) return TVMCOMP_NO_MEMORY;
  turn->owner = wiped_page();
  if (!turn->owner) turn->owner = &turn->number;
  atomic_store(turn->owner, own(turn));
  return TVMCOMP_OK;
}

/* Makes the mutex that a fork has copied this process's own, whichever thread comes first. */
static void renew(tvmcomp_turn *turn) {
  for (;;) {
    uint32_t seen = atomic_load_explicit(turn->owner, memory_order_acquire);
    if (seen == own(turn)) return;
    if (seen == RENEWING) {
      sched_yield();
    } else if (atomic_compare_exchange_strong(turn->owner, &seen, RENEWING)) {
      pthread_mutex_init(&turn->mutex, NULL);
      atomic_store_explicit(turn->owner, own(turn), memory_order_release);
    }
  }
}

void tvmcomp_turn_take(tvmcomp_turn *turn) {
  if (atomic_load_explicit(turn->owner, memory_order_acquire) != own(turn)) renew(turn);
  pthread_mutex_lock(&turn->mutex);
}

void tvmcomp_turn_give(tvmcomp_turn *turn) { pthread_mutex_unlock(&turn->mutex); }

void tvmcomp_turn_end(tvmcomp_turn *turn) {
  if (atomic_load(turn->owner) == own(turn)) pthread_mutex_destroy(&turn->mutex);
  if (turn->owner != &turn->number) munmap((void *)turn->owner, (size_t)sysconf(_SC_PAGESIZE));
}
#endif
