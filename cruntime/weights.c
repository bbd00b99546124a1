/* What this process has decoded, as a list. It is whole after each single write, so that a fork finds it
 * so whatever its parent's other threads were at. */
#define _GNU_SOURCE
#include "weights.h"

#include <stdlib.h>
#include <string.h>

#include "coded.h"

struct tvmcomp_decoded {
  tvmcomp_decoded *next;
  const void *coded;
  const tvmcomp_tensor *constants;
  int32_t count, users;
  void *memory;
  const void *arrays[]; /* NULL: not coded */
};

static tvmcomp_decoded *all;

#ifdef TVMCOMP_WITHOUT_THREADS
static void lock(void) {}

static void unlock(void) {}
#else
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

/* The process in which a thread is at the list, or 0. A forked process that finds another's number here
 * lacks that thread. */
static _Atomic int64_t busy;

static void lock(void) {
  int64_t self = getpid();
  for (;;) {
    int64_t seen = 0;
    if (atomic_compare_exchange_strong(&busy, &seen, self)) return;
    if (seen != self && atomic_compare_exchange_strong(&busy, &seen, self)) return;
    /* Decoding takes milliseconds. */
    nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
  }
}

static void unlock(void) { atomic_store(&busy, 0); }
#endif

/* Whether those are what `weights` of `network` decode to. */
static int serves(const tvmcomp_decoded *decoded, const tvmcomp_network *network,
                  const tvmcomp_weights *weights) {
  if (decoded->coded != weights->coded || decoded->count != network->num_constants) return 0;
  for (int32_t i = 0; i < decoded->count; i++) {
    uint64_t size = network->constants[i].nbytes;
    if (size != decoded->constants[i].nbytes) return 0;
    if (size && !weights->arrays[i] != !!decoded->arrays[i]) return 0;
  }
  return 1;
}

static tvmcomp_status decode(const tvmcomp_network *network, const tvmcomp_weights *weights,
                             tvmcomp_decoded **made) {
  int32_t count = network->num_constants;
  tvmcomp_decoded *decoded = malloc(sizeof *decoded + (size_t)count * sizeof *decoded->arrays);
  if (!decoded) return TVMCOMP_NO_MEMORY;
  for (int32_t i = 0; i < count; i++) decoded->arrays[i] = weights->arrays[i];
  tvmcomp_status status = tvmcomp_decode(weights->coded, weights->coded_bytes, network->constants,
                                         count, decoded->arrays, &decoded->memory);
  if (status) {
    free(decoded);
    return status;
  }
  for (int32_t i = 0; i < count; i++)
    if (weights->arrays[i]) decoded->arrays[i] = NULL;
  decoded->coded = weights->coded;
  decoded->constants = network->constants;
  decoded->count = count;
  decoded->users = 0;
  decoded->next = all;
  all = *made = decoded;
  return TVMCOMP_OK;
}

tvmcomp_status tvmcomp_take_decoded(const tvmcomp_network *network, const tvmcomp_weights *weights,
                                    const void **arrays, tvmcomp_decoded **out) {
  tvmcomp_status status = TVMCOMP_OK;
  lock();
  tvmcomp_decoded *decoded = all;
  while (decoded && !serves(decoded, network, weights)) decoded = decoded->next;
  if (!decoded) status = decode(network, weights, &decoded);
  if (!status) {
    decoded->users++;
    for (int32_t i = 0; i < decoded->count; i++)
      if (!arrays[i]) arrays[i] = decoded->arrays[i];
  }
  unlock();
  *out = decoded;
  return status;
}

void tvmcomp_give_decoded(tvmcomp_decoded *decoded) {
  if (!decoded) return;
  lock();
  int last = --decoded->users == 0;
  if (last) {
    tvmcomp_decoded **link = &all;
    while (*link != decoded) link = &(*link)->next;
    *link = decoded->next;
  }
  unlock();
  if (!last) return;
  free(decoded->memory);
  free(decoded);
}
