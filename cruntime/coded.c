/* Reading coded weights. Numbers are of 7 bits a byte, the lowest first, with the top bit set where
 * more follow; all else is little-endian:
 *
 *     coded  = checksum: uint64[2], groups: number, group .., zeros up to a multiple of 4, 8 zeros
 *     group  = form: number, members: number, gap: number .., itemsize: number,
 *              [entries: number, the entries], plane ..
 *     plane  = 0, as many bytes as it has    (stored)
 *            | 1, table, block ..            (a table that later planes may use again)
 *            | 2 + i, block ..               (the i-th of those tables)
 *
 * A group is constants whose elements have one size, one behind the other: as planes, the first byte of
 * every element, then every second one; or, of few values, as a book of them and one plane of indices.
 * Differences are of each byte to the one before, modulo 256: tables of functions are smooth. A gap is
 * how many constants lie between a member and the one before. */
#define _GNU_SOURCE
#include "coded.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "rans.h"

enum { PLAIN, DIFFERENCES, BOOK };        /* forms of a group */
enum { STORED, NEW_TABLE, KNOWN_TABLES }; /* what a plane begins with */
enum { BLOCK = 1 << 16, MOST_TABLES = 256, MOST_ENTRIES = 256, ALIGNMENT = 64 };
/* Pages that large, where the system has them: weights are read from end to end at every run. */
#define LARGE_PAGE ((size_t)1 << 21)

typedef struct {
  uint64_t form, itemsize, entries, elements;
  int32_t *members, count; /* indices of constants */
  const uint8_t *book;
} group;

typedef struct {
  tvmcomp_stream in;
  const tvmcomp_tensor *constants;
  int32_t count;
  const void **arrays;
  uint8_t *free; /* memory for the next constant */
  const uint8_t *tables[MOST_TABLES];
  uint64_t known; /* of the tables */
  uint32_t table[TVMCOMP_RANS_TOTAL];
  uint8_t block[BLOCK];
} decoder;

static uint64_t left(const decoder *d) { return (uint64_t)(d->in.end - d->in.at); }

/* Reads a number that is not above `most`; returns whether there is one. */
static int number(decoder *d, uint64_t most, uint64_t *found) {
  *found = 0;
  for (uint32_t shift = 0; shift < 63 && left(d); shift += 7) {
    uint8_t byte = *d->in.at++;
    *found |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) return *found <= most;
  }
  return 0;
}

/* As many bytes where they are, or NULL. */
static const uint8_t *bytes(decoder *d, uint64_t count) {
  if (left(d) < count) return NULL;
  d->in.at += count;
  return d->in.at - count;
}

static uint64_t aligned(uint64_t size) { return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

/* Reads a group's members and gives them memory. */
static int read_members(decoder *d, group *g) {
  uint64_t found;
  int64_t member = -1;
  if (!number(d, (uint64_t)d->count, &found)) return 0;
  g->count = (int32_t)found;
  for (int32_t i = 0; i < g->count; i++) {
    if (!number(d, INT32_MAX, &found)) return 0;
    member += 1 + (int64_t)found;
    if (member >= d->count || d->arrays[member]) return 0;
    d->arrays[member] = d->free;
    d->free += aligned(d->constants[member].nbytes);
    g->members[i] = (int32_t)member;
  }
  if (!number(d, 255, &g->itemsize) || !g->itemsize) return 0;
  g->elements = 0;
  for (int32_t i = 0; i < g->count; i++) {
    uint64_t size = d->constants[g->members[i]].nbytes;
    if (size % g->itemsize) return 0;
    g->elements += size / g->itemsize;
  }
  return 1;
}

/* Makes d->table that of the plane which begins with `kind`. */
static int use_table(decoder *d, uint64_t kind) {
  if (kind != NEW_TABLE) {
    if (kind - KNOWN_TABLES >= d->known) return 0;
    tvmcomp_stream again = {d->tables[kind - KNOWN_TABLES], d->in.end};
    return tvmcomp_rans_table(&again, d->table);
  }
  if (d->known < MOST_TABLES) d->tables[d->known++] = d->in.at;
  return tvmcomp_rans_table(&d->in, d->table);
}

/* Puts `count` elements' bytes number `plane`, or the elements that they are indices of, to `to`. */
static int put(const group *g, uint64_t plane, const uint8_t *from, uint64_t count, uint8_t *to) {
  size_t size = (size_t)g->itemsize;
  if (g->form == BOOK) {
    for (uint64_t i = 0; i < count; i++, to += size) {
      if (from[i] >= g->entries) return 0;
      memcpy(to, g->book + from[i] * size, size);
    }
  } else if (size == 1) {
    memcpy(to, from, (size_t)count);
  } else {
    for (uint64_t i = 0; i < count; i++) to[i * size + plane] = from[i];
  }
  return 1;
}

static int read_plane(decoder *d, const group *g, uint64_t plane) {
  uint64_t kind, in_member = 0;
  uint8_t last = 0;
  int32_t member = 0;
  if (!number(d, UINT64_MAX, &kind) || (kind != STORED && !use_table(d, kind))) return 0;
  for (uint64_t done = 0; done < g->elements;) {
    uint64_t size = g->elements - done < BLOCK ? g->elements - done : BLOCK;
    const uint8_t *from = d->block;
    if (kind == STORED) from = bytes(d, size);
    else if (!tvmcomp_rans_decode(&d->in, d->table, d->block, (uint32_t)size)) return 0;
    if (!from) return 0;
    if (g->form == DIFFERENCES) {
      for (uint64_t i = 0; i < size; i++) d->block[i] = last = (uint8_t)(last + from[i]);
      from = d->block;
    }
    done += size;
    while (size) {
      int32_t constant = g->members[member];
      uint64_t elements = d->constants[constant].nbytes / g->itemsize;
      uint64_t now = elements - in_member < size ? elements - in_member : size;
      uint8_t *to = (uint8_t *)(uintptr_t)d->arrays[constant]; /* our own memory */
      if (!put(g, plane, from, now, to + in_member * g->itemsize)) return 0;
      from += now;
      size -= now;
      in_member += now;
      if (in_member == elements) member++, in_member = 0;
    }
  }
  return 1;
}

static int read_group(decoder *d, group *g) {
  if (!number(d, BOOK, &g->form) || !read_members(d, g)) return 0;
  g->entries = 0;
  if (g->form == BOOK) {
    if (!number(d, MOST_ENTRIES, &g->entries)) return 0;
    g->book = bytes(d, g->entries * g->itemsize);
    if (!g->book) return 0;
  }
  uint64_t planes = g->form == BOOK ? 1 : g->itemsize;
  for (uint64_t plane = 0; plane < planes; plane++)
    if (!read_plane(d, g, plane)) return 0;
  return 1;
}

/* Whether the checksum that the stream begins with is right: two sums of its words, as Fletcher's. */
static int intact(const uint8_t *coded, uint64_t size) {
  uint64_t sums[2] = {0, 0};
  uint32_t word;
  if (size < sizeof sums || size % sizeof word) return 0;
  for (uint64_t i = sizeof sums; i < size; i += sizeof word) {
    memcpy(&word, coded + i, sizeof word);
    sums[0] += word;
    sums[1] += sums[0];
  }
  return !memcmp(coded, sums, sizeof sums);
}

static int decode(decoder *d) {
  uint64_t groups;
  group g = {.members = calloc((size_t)d->count, sizeof *g.members)};
  int valid = g.members && number(d, UINT64_MAX, &groups);
  for (uint64_t i = 0; valid && i < groups; i++) valid = read_group(d, &g);
  free(g.members);
  for (int32_t i = 0; i < d->count; i++) valid = valid && (d->arrays[i] || !d->constants[i].nbytes);
  return valid;
}

/* Memory for `size` bytes of weights, or NULL. */
static void *room_for(size_t size) {
  void *memory;
  if (posix_memalign(&memory, size < LARGE_PAGE ? ALIGNMENT : LARGE_PAGE, size ? size : 1)) return NULL;
#ifdef MADV_HUGEPAGE
  if (size >= LARGE_PAGE) madvise(memory, size / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE);
#endif
  return memory;
}

tvmcomp_status tvmcomp_decode(const uint8_t *coded, uint64_t size, const tvmcomp_tensor *constants,
                              int32_t count, const void **arrays, void **memory) {
  uint64_t needed = 0;
  for (int32_t i = 0; i < count; i++) {
    if (arrays[i]) continue;
    if (constants[i].nbytes > SIZE_MAX / 2 - needed) return TVMCOMP_NO_MEMORY;
    needed += aligned(constants[i].nbytes);
  }
  if (!intact(coded, size)) return TVMCOMP_DAMAGED_WEIGHTS;
  decoder *d = malloc(sizeof *d);
  *memory = room_for((size_t)needed);
  if (!d || !*memory) {
    free(d);
    free(*memory);
    return TVMCOMP_NO_MEMORY;
  }
  d->in = (tvmcomp_stream){coded + 2 * sizeof(uint64_t), coded + size};
  d->constants = constants;
  d->count = count;
  d->arrays = arrays;
  d->free = *memory;
  d->known = 0;
  int valid = decode(d);
  free(d);
  if (valid) return TVMCOMP_OK;
  free(*memory);
  return TVMCOMP_DAMAGED_WEIGHTS;
}
