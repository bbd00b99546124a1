/* The larger arrays of kernels. A kernel asks for the same few, last in, first out, at every run, so
 * that each task keeps a short list of blocks and after the first run nothing is allocated. */
#include "workspace.h"

#include <stdlib.h>

#include "pool.h"

#define ALIGNMENT 64

struct tvmcomp_block { /* stands before its array, and takes as much as its alignment */
  tvmcomp_block *next;
  uint64_t bytes;
  int32_t used;
};

_Static_assert(sizeof(tvmcomp_block) <= ALIGNMENT, "a block's head fits in front of its array");

static void *array_of(tvmcomp_block *block) { return (uint8_t *)block + ALIGNMENT; }

void *tvmcomp_aligned(uint64_t bytes) {
  if (bytes > SIZE_MAX - ALIGNMENT) return NULL;
  size_t whole = ((size_t)bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  return aligned_alloc(ALIGNMENT, whole ? whole : ALIGNMENT);
}

static void *allocate(int device_type, int device, uint64_t bytes, int type_code, int type_bits) {
  (void)device_type, (void)device, (void)type_code, (void)type_bits;
  if (!tvmcomp_current) return NULL; /* a kernel that no context runs */
  tvmcomp_arrays *arrays = &tvmcomp_current->arrays;
  tvmcomp_block *best = NULL;
  for (tvmcomp_block *block = arrays->blocks; block; block = block->next)
    if (!block->used && block->bytes >= bytes && (!best || block->bytes < best->bytes)) best = block;
  if (!best) {
    best = bytes > UINT64_MAX - ALIGNMENT ? NULL : tvmcomp_aligned(bytes + ALIGNMENT);
    if (!best) {
      arrays->failed = 1;
      return NULL;
    }
    best->next = arrays->blocks;
    best->bytes = bytes;
    arrays->blocks = best;
  }
  best->used = 1;
  return array_of(best);
}

static int release(int device_type, int device, void *array) {
  (void)device_type, (void)device;
  if (!tvmcomp_current) return -1;
  for (tvmcomp_block *block = tvmcomp_current->arrays.blocks; block; block = block->next)
    if (array_of(block) == array) {
      block->used = 0;
      return 0;
    }
  return -1;
}

void tvmcomp_free_arrays(tvmcomp_arrays *arrays) {
  while (arrays->blocks) {
    tvmcomp_block *block = arrays->blocks;
    arrays->blocks = block->next;
    free(block);
  }
}

TVMCOMP_HIDDEN tvmcomp_allocate_function __TVMBackendAllocWorkspace = allocate;
TVMCOMP_HIDDEN tvmcomp_release_function __TVMBackendFreeWorkspace = release;
