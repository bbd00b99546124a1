/* An entropy decoder: bytes whose values are unequally frequent, in as few bits as that allows. */
#ifndef TVMCOMP_RANS_H
#define TVMCOMP_RANS_H

#include "kernel_imports.h"

/* Frequencies of the 256 values sum to this. */
#define TVMCOMP_RANS_TOTAL 4096

/* What is left to read. */
typedef struct {
  const uint8_t *at, *end;
} tvmcomp_stream;

/* Reads frequencies and lays them out for decoding; returns whether they are valid. */
TVMCOMP_HIDDEN int tvmcomp_rans_table(tvmcomp_stream *in, uint32_t table[TVMCOMP_RANS_TOTAL]);

/* Decodes `count` bytes; returns whether the stream has them. */
TVMCOMP_HIDDEN int tvmcomp_rans_decode(tvmcomp_stream *in, const uint32_t table[TVMCOMP_RANS_TOTAL],
                                       uint8_t *out, uint32_t count);

#endif
