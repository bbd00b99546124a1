/* rANS (Duda, "Asymmetric numeral systems", 2013), by 16 bits: a state holds what was coded as one
 * number. A value that has f of the TOTAL slots from slot `first` on comes off the state x by
 *
 *     x = f * (x / TOTAL) + x % TOTAL - first,    where the slot x % TOTAL says which value it is,
 *
 * and a state below 2^16 takes in the next 16 bits. Byte i comes off state i % 4: a CPU then works on
 * four at a time. The coder, in tvmcomp/artifact/rans.py, goes the other way and began with states
 * of 2^16, so that what ends with others is damaged. */
#include "rans.h"

#include <string.h>

enum { LANES = 4, LEAST = 1 << 16, WORD = sizeof(uint16_t) };

/* A frequency below 128 is one byte, another two, the higher 7 bits first with the top bit set. Zero
 * stands for itself and as many more zeros as the byte behind it says. */
int tvmcomp_rans_table(tvmcomp_stream *in, uint32_t table[TVMCOMP_RANS_TOTAL]) {
  uint32_t symbol = 0, first = 0;
  while (symbol < 256) {
    if (in->end - in->at < 2) return 0;
    uint32_t frequency = *in->at++;
    if (!frequency) {
      symbol += *in->at++ + 1u;
      continue;
    }
    if (frequency >= 128) frequency = (frequency - 128) << 8 | *in->at++;
    if (!frequency || frequency > TVMCOMP_RANS_TOTAL - first) return 0;
    for (uint32_t i = 0; i < frequency; i++)
      table[first + i] = symbol << 24 | (frequency - 1) << 12 | i;
    first += frequency;
    symbol++;
  }
  return symbol == 256 && first == TVMCOMP_RANS_TOTAL;
}

/* Takes a byte off a state. It reads the next word whether the state takes it in or not, so that
 * there is no branch, which nothing could predict. */
static inline uint8_t decode(const uint32_t *table, uint32_t *state, const uint8_t **at) {
  uint32_t x = *state, entry = table[x % TVMCOMP_RANS_TOTAL];
  x = ((entry >> 12 & 0xfff) + 1) * (x / TVMCOMP_RANS_TOTAL) + (entry & 0xfff);
  uint16_t word;
  memcpy(&word, *at, WORD);
  uint32_t low = x < LEAST;
  *state = low ? x << 16 | word : x;
  *at += low * WORD;
  return (uint8_t)(entry >> 24);
}

int tvmcomp_rans_decode(tvmcomp_stream *in, const uint32_t table[TVMCOMP_RANS_TOTAL], uint8_t *out,
                        uint32_t count) {
  uint32_t a, b, c, d, i = 0;
  const uint8_t *at = in->at, *const end = in->end;
  if (end - at < LANES * (long)sizeof a) return 0;
  memcpy(&a, at, sizeof a);
  memcpy(&b, at + 4, sizeof b);
  memcpy(&c, at + 8, sizeof c);
  memcpy(&d, at + 12, sizeof d);
  at += LANES * sizeof a;
  for (; i + LANES <= count; i += LANES) {
    if (end - at < LANES * WORD) return 0;
    out[i] = decode(table, &a, &at);
    out[i + 1] = decode(table, &b, &at);
    out[i + 2] = decode(table, &c, &at);
    out[i + 3] = decode(table, &d, &at);
  }
  if (end - at < LANES * WORD) return 0;
  if (i < count) out[i++] = decode(table, &a, &at);
  if (i < count) out[i++] = decode(table, &b, &at);
  if (i < count) out[i++] = decode(table, &c, &at);
  in->at = at;
  return a == LEAST && b == LEAST && c == LEAST && d == LEAST;
}
