/* Memory that a kernel asks for while it runs, beside the network's planned workspace. */
#ifndef TVMCOMP_WORKSPACE_H
#define TVMCOMP_WORKSPACE_H

#include "kernel_imports.h"

typedef struct tvmcomp_block tvmcomp_block;

/* The arrays of one task; used by one thread at a time. All zero is an empty one. */
typedef struct {
  tvmcomp_block *blocks; /* a list; they are kept for the next run */
  int32_t failed;        /* an array could not be had */
} tvmcomp_arrays;

TVMCOMP_HIDDEN void tvmcomp_free_arrays(tvmcomp_arrays *arrays);

/* `bytes` of memory whose address is a multiple of 64, to be given to free(), or NULL. */
TVMCOMP_HIDDEN void *tvmcomp_aligned(uint64_t bytes);

#endif
