/* Whose turn it is to use a context, in the process that made it and in those forked from it. */
#ifndef TVMCOMP_TURN_H
#define TVMCOMP_TURN_H

#include "pool.h"

typedef struct {
#ifndef TVMCOMP_WITHOUT_THREADS
  pthread_mutex_t mutex;
  _Atomic uint32_t *owner; /* says which process the mutex belongs to */
  _Atomic uint32_t number; /* of the process: what `owner` points to where a page can't be had */
#else
  char unused;
#endif
} tvmcomp_turn;

TVMCOMP_HIDDEN tvmcomp_status tvmcomp_turn_start(tvmcomp_turn *turn);
TVMCOMP_HIDDEN void tvmcomp_turn_take(tvmcomp_turn *turn); /* waits for it */
TVMCOMP_HIDDEN void tvmcomp_turn_give(tvmcomp_turn *turn);
TVMCOMP_HIDDEN void tvmcomp_turn_end(tvmcomp_turn *turn);

#endif
