/* Coded weights: what `tvmcomp build --small` makes of a network's constants. */
#ifndef TVMCOMP_CODED_H
#define TVMCOMP_CODED_H

#include "include/tvmcomp.h"
#include "kernel_imports.h"

/* Decodes constants to memory that the caller gives back to free().
 *
 * coded, bytes: what tvmcomp/artifact/coded.py wrote; nothing in it is believed.
 * constants, count: the network's.
 * arrays: for each constant, NULL where it is to be decoded; those are set.
 * Returns DAMAGED_WEIGHTS where they are not exactly the constants that are coded. */
TVMCOMP_HIDDEN tvmcomp_status tvmcomp_decode(const uint8_t *coded, uint64_t bytes,
                                             const tvmcomp_tensor *constants, int32_t count,
                                             const void **arrays, void **memory);

#endif
