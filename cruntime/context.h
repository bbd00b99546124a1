/* What a context is, for the files that make and run one. */
#ifndef TVMCOMP_CONTEXT_H
#define TVMCOMP_CONTEXT_H

#include "include/tvmcomp.h"
#include "pool.h"
#include "turn.h"
#include "weights.h"

/* Of the workspace, and of what the driver copies where the caller's place lacks it. */
#define TVMCOMP_ALIGNMENT 64

struct tvmcomp_context {
  tvmcomp_pool pool;
  tvmcomp_turn turn; /* of the calls that share this context */
  const tvmcomp_network *network;
  tvmcomp_frame frame;    /* all that stays the same from run to run, and the hook */
  const void **constants; /* where each lies: what was given, and what was decoded */
  tvmcomp_decoded *decoded; /* NULL: none was */
  int32_t *cores;
  int32_t num_cores;
  void *own_workspace; /* NULL: the caller's */
};

/* Whether each tensor has a place, aligned as it must be; what is to be aligned to `copied` bytes or
 * more need not be. */
TVMCOMP_HIDDEN int tvmcomp_usable(const void *const *places, const tvmcomp_tensor *tensors,
                                  int32_t count, uint32_t copied);

#endif
