/* TVM's TopK as kernels call it, against a choice of the best one after another. Usage: check_sort */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "network.h"

typedef struct {
  int32_t type;
  uint32_t length;
  union {
    int64_t integer;
    void *pointer;
    char characters[8];
  } as;
} value;

typedef struct {
  void *data;
  int32_t device_type, device, ndim;
  uint8_t code, bits;
  uint16_t lanes;
  const int64_t *shape, *strides;
  uint64_t byte_offset;
} tensor;

extern int (*__TVMFFIHandleInitOnce)(void **, int (*)(void **));
extern int (*__TVMFFIEnvModLookupFromImports)(void *, const char *, void **);
extern int (*__TVMFFIFunctionCall)(void *, const value *, int32_t, value *);

static int find(void **handle) {
  return __TVMFFIEnvModLookupFromImports(NULL, "tvm.contrib.sort.topk", handle);
}

static int no_such(void **handle) { return __TVMFFIEnvModLookupFromImports(NULL, "tvm.other", handle); }

#define BEFORE 3
#define COUNT 9
#define AFTER 4

static union {
  int8_t i8[BEFORE * COUNT * AFTER];
  uint8_t u8[8 * BEFORE * COUNT * AFTER];
  int32_t i32[BEFORE * COUNT * AFTER];
  int64_t i64[BEFORE * COUNT * AFTER];
  float f32[BEFORE * COUNT * AFTER];
  double f64[BEFORE * COUNT * AFTER];
} data, values;

static int64_t number(int i) { return (int64_t)(i * 7919 % 11) - 5; } /* with many ties */

static void fill(tensor *x) {
  for (int i = 0; i < BEFORE * COUNT * AFTER; i++) {
    int64_t n = number(i);
    if (x->code == 2 && x->bits == 32) data.f32[i] = (float)n / 4;
    else if (x->code == 2) data.f64[i] = (double)n / 4;
    else if (x->code == 1) data.u8[i] = (uint8_t)n; /* -1 is the largest */
    else if (x->bits == 8) data.i8[i] = (int8_t)n;
    else if (x->bits == 32) data.i32[i] = (int32_t)n;
    else data.i64[i] = n * ((int64_t)1 << 40);
  }
}

static int is_before(const tensor *x, int i, int j, int ascending) {
  int64_t a = number(i), b = number(j);
  if (x->code == 1) a = (uint8_t)a, b = (uint8_t)b;
  return a == b ? i < j : ascending ? a < b : a > b;
}

/* The places in `order` of the first `count` of one line. */
static void choose(const tensor *x, int first, int count, int ascending, int *order) {
  int taken[COUNT] = {0};
  for (int k = 0; k < count; k++) {
    int best = -1;
    for (int i = 0; i < COUNT; i++)
      if (!taken[i] && (best < 0 || is_before(x, first + i * AFTER, first + best * AFTER, ascending)))
        best = i;
    taken[best] = 1;
    order[k] = best;
  }
}

static void check(void *handle, uint8_t code, uint8_t bits, int count, const char *what, int ascending,
                  uint8_t index_bits) {
  static int64_t indices[BEFORE * COUNT * AFTER];
  int64_t shape[] = {BEFORE, COUNT, AFTER}, small[] = {BEFORE, count, AFTER};
  tensor x = {&data, 1, 0, 3, code, bits, 1, shape, NULL, 0};
  tensor v = {&values, 1, 0, 3, code, bits, 1, small, NULL, 0};
  tensor n = {indices, 1, 0, 3, 0, index_bits, 1, small, NULL, 0};
  fill(&x);
  memset(&values, 0x55, sizeof values);
  memset(indices, 0x55, sizeof indices);
  int with_values = strcmp(what, "indices"), with_indices = strcmp(what, "values"), at = 0;
  value all[8];
  all[at++] = (value){7, 0, {.pointer = &x}};
  if (with_values) all[at++] = (value){7, 0, {.pointer = &v}};
  if (with_indices) all[at++] = (value){7, 0, {.pointer = &n}};
  all[at++] = (value){1, 0, {.integer = count}};
  all[at++] = (value){1, 0, {.integer = ascending ? 1 : -2}};
  all[at] = (value){8, 0, {.pointer = (void *)(uintptr_t)what}};
  if (count % 2 && strlen(what) < 7) {
    all[at] = (value){11, (uint32_t)strlen(what), {.integer = 0}};
    memcpy(all[at].as.characters, what, strlen(what));
  }
  all[++at] = (value){1, 0, {.integer = ascending}};
  CHECK(!__TVMFFIFunctionCall(handle, all, at + 1, &(value){0, 0, {0}}));
  for (int b = 0; b < BEFORE; b++)
    for (int a = 0; a < AFTER; a++) {
      int order[COUNT], first = b * COUNT * AFTER + a;
      choose(&x, first, count, ascending, order);
      for (int k = 0; k < count; k++) {
        int to = (b * count + k) * AFTER + a, size = bits / 8;
        if (with_indices)
          CHECK((index_bits == 64 ? indices[to] : ((int32_t *)indices)[to]) == order[k]);
        if (with_values)
          CHECK(!memcmp(values.u8 + to * size, data.u8 + (first + order[k] * AFTER) * size, (size_t)size));
      }
    }
}

int main(void) {
  static const uint8_t types[][2] = {{0, 8}, {1, 8}, {0, 32}, {0, 64}, {2, 32}, {2, 64}};
  static const char *const whats[] = {"both", "values", "indices"};
  void *handle = NULL, *same;
  CHECK(__TVMFFIHandleInitOnce(&handle, no_such) && !handle);
  CHECK(!__TVMFFIHandleInitOnce(&handle, find) && handle);
  same = handle;
  CHECK(!__TVMFFIHandleInitOnce(&handle, no_such) && handle == same); /* found already */
  for (int type = 0; type < 6; type++)
    for (int count = 1; count <= COUNT; count++)
      for (int what = 0; what < 3; what++)
        for (int bits = 32; bits <= 64; bits += 32)
          for (int ascending = 0; ascending < 2; ascending++)
            check(handle, types[type][0], types[type][1], count, whats[what], ascending, (uint8_t)bits);
}
