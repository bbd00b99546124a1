/* The only functions that kernels call by name: TVM's TopK. Linked where a network has one.
 *
 * TVM looks such a function up once, keeps its handle and calls it with an array of tagged values
 * (TVM FFI's C interface, version 0.1); here a handle is the address of a cell with the function. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_imports.h"
#include "tvm_values.h"

enum { TENSOR_POINTER = 7, STRING_POINTER = 8, SHORT_STRING = 11 };

enum { SIGNED = 0, UNSIGNED = 1, FLOAT = 2 }; /* DLDataTypeCode */

typedef int (*packed)(const value *arguments, int32_t count, value *result);

typedef struct {
  packed call;
} cell;

/* One line of the tensor along the sorted axis. */
typedef struct {
  const uint8_t *data; /* its first element */
  int64_t step;        /* elements between two of it */
  uint8_t code, bits;
  int ascending;
} line;

/* An element, in the widest type of its kind. */
typedef struct {
  union {
    int64_t integer;
    double number;
  } key;
  int64_t place; /* in its line */
} element;

static element element_at(const line *x, int64_t i) {
  const uint8_t *p = x->data + i * x->step * (x->bits / 8);
  element e = {{0}, i};
  if (x->code == FLOAT) {
    e.key.number = x->bits == 32 ? *(const float *)p : *(const double *)p;
    return e;
  }
  switch (x->code == UNSIGNED ? -x->bits : x->bits) {
    case 8: e.key.integer = *(const int8_t *)p; break;
    case 16: e.key.integer = *(const int16_t *)p; break;
    case 32: e.key.integer = *(const int32_t *)p; break;
    case 64: e.key.integer = *(const int64_t *)p; break;
    case -8: e.key.integer = *p; break;
    case -16: e.key.integer = *(const uint16_t *)p; break;
    default: e.key.integer = *(const uint32_t *)p;
  }
  return e;
}

/* Whether a comes before b in the result; of equal ones the first in the line does. */
static int before(const line *x, const element *a, const element *b) {
  int less, more;
  if (x->code == FLOAT) less = a->key.number < b->key.number, more = a->key.number > b->key.number;
  else less = a->key.integer < b->key.integer, more = a->key.integer > b->key.integer;
  if (less || more) return x->ascending ? less : more;
  return a->place < b->place;
}

/* The first of the elements from i on that comes before element `top`, which lies before them all; or
 * `length`. Most comparisons are made here, so it goes over the elements as what they are. */
static int64_t next_before(const line *x, int64_t i, int64_t length, int64_t top) {
#define SEARCH(type)                                                     \
  {                                                                      \
    const type *all = (const void *)x->data, best = all[top * x->step];  \
    if (x->ascending)                                                    \
      while (i < length && !(all[i * x->step] < best)) i++;              \
    else                                                                 \
      while (i < length && !(all[i * x->step] > best)) i++;              \
    return i;                                                            \
  }
  if (x->code == FLOAT) {
    if (x->bits == 32) SEARCH(float)
    SEARCH(double)
  }
  switch (x->code == UNSIGNED ? -x->bits : x->bits) {
    case 8: SEARCH(int8_t)
    case 16: SEARCH(int16_t)
    case 32: SEARCH(int32_t)
    case 64: SEARCH(int64_t)
    case -8: SEARCH(uint8_t)
    case -16: SEARCH(uint16_t)
    default: SEARCH(uint32_t)
  }
#undef SEARCH
}

/* Lets heap[at] sink to its place in a heap whose first element comes last in the result. */
static void sink(const line *x, element *heap, int64_t at, int64_t count) {
  element moved = heap[at];
  for (int64_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && before(x, &heap[child], &heap[child + 1])) child++;
    if (!before(x, &moved, &heap[child])) break;
    heap[at] = heap[child];
  }
  heap[at] = moved;
}

/* Writes the first `count` of `length` elements in order to `heap`. */
static void select_first(const line *x, int64_t length, element *heap, int64_t count) {
  for (int64_t i = 0; i < count; i++) heap[i] = element_at(x, i);
  for (int64_t i = count / 2; i-- > 0;) sink(x, heap, i, count);
  for (int64_t i = count; count && (i = next_before(x, i, length, heap[0].place)) < length; i++) {
    heap[0] = element_at(x, i);
    sink(x, heap, 0, count);
  }
  for (int64_t left = count; left-- > 1;) {
    element last = heap[0];
    heap[0] = heap[left];
    heap[left] = last;
    sink(x, heap, 0, left);
  }
}

static void write_line(const line *x, const element *order, int64_t count, int64_t first,
                       const tensor *values, const tensor *indices) {
  int64_t width = x->bits / 8;
  for (int64_t i = 0; i < count; i++) {
    int64_t to = first + i * x->step;
    if (values)
      memcpy((uint8_t *)values->data + to * width, x->data + order[i].place * x->step * width, (size_t)width);
    if (indices && indices->bits == 64) ((int64_t *)indices->data)[to] = order[i].place;
    if (indices && indices->bits == 32) ((int32_t *)indices->data)[to] = (int32_t)order[i].place;
  }
}

static int sort_lines(const tensor *input, const tensor *values, const tensor *indices, int64_t count,
                      int64_t axis, int ascending) {
  int64_t outer = 1, inner = 1, length = input->shape[axis];
  for (int32_t i = 0; i < axis; i++) outer *= input->shape[i];
  for (int32_t i = (int32_t)axis + 1; i < input->ndim; i++) inner *= input->shape[i];
  if (count < 1) count = length;
  if (count > length) return -1;
  element *order = malloc((size_t)(count ? count : 1) * sizeof *order);
  if (!order) return -1;
  for (int64_t i = 0; i < outer * inner; i++) {
    int64_t row = i / inner, column = i % inner;
    const uint8_t *data = input->data;
    data += (row * length * inner + column) * (input->bits / 8);
    line x = {data, inner, input->code, input->bits, ascending};
    select_first(&x, length, order, count);
    write_line(&x, order, count, row * count * inner + column, values, indices);
  }
  free(order);
  return 0;
}

static int is_string(const value *v, const char *text) {
  if (v->type == STRING_POINTER) return !strcmp(v->as.pointer, text);
  return v->type == SHORT_STRING && v->length == strlen(text) &&
         !memcmp(v->as.characters, text, v->length);
}

static int supported(const tensor *x) {
  if (x->lanes != 1) return 0;
  if (x->code == FLOAT) return x->bits == 32 || x->bits == 64;
  if (x->code == SIGNED) return x->bits == 8 || x->bits == 16 || x->bits == 32 || x->bits == 64;
  return x->code == UNSIGNED && (x->bits == 8 || x->bits == 16 || x->bits == 32);
}

/* tvm.contrib.sort.topk(input, [values], [indices], k, axis, "both" | "values" | "indices", ascending);
 * k < 1: all. */
static int topk(const value *arguments, int32_t count, value *result) {
  (void)result;
  if (count < 6 || arguments[0].type != TENSOR_POINTER) return -1;
  const value *options = arguments + count - 4;
  int only_indices = is_string(&options[2], "indices"), both = is_string(&options[2], "both");
  if (count != 6 + both || arguments[1].type != TENSOR_POINTER) return -1;
  const tensor *input = arguments[0].as.pointer;
  const tensor *values = only_indices ? NULL : arguments[1].as.pointer;
  const tensor *indices = only_indices ? arguments[1].as.pointer : both ? arguments[2].as.pointer : NULL;
  int64_t axis = options[1].as.integer;
  if (axis < 0) axis += input->ndim;
  if (axis < 0 || axis >= input->ndim || !supported(input)) return -1;
  if (indices && (indices->code != SIGNED || indices->bits < 32)) return -1;
  return sort_lines(input, values, indices, options[0].as.integer, axis, (int)options[3].as.integer);
}

static const cell topk_cell = {topk};

/* Several contexts may come to a kernel's first call at once; they find the same handle. */
static int init_once(void **handle, int (*find)(void **handle)) {
  if (__atomic_load_n(handle, __ATOMIC_ACQUIRE)) return 0;
  void *found = NULL;
  int result = find(&found);
  if (!result) __atomic_store_n(handle, found, __ATOMIC_RELEASE);
  return result;
}

static int look_up(void *library, const char *name, void **handle) {
  (void)library;
  if (strcmp(name, "tvm.contrib.sort.topk")) return -1;
  *handle = (void *)(uintptr_t)&topk_cell;
  return 0;
}

static int call(void *handle, const value *arguments, int32_t count, value *result) {
  return ((const cell *)handle)->call(arguments, count, result);
}

extern TVMCOMP_HIDDEN int (*__TVMFFIHandleInitOnce)(void **, int (*)(void **));
extern TVMCOMP_HIDDEN int (*__TVMFFIEnvModLookupFromImports)(void *, const char *, void **);
extern TVMCOMP_HIDDEN int (*__TVMFFIFunctionCall)(void *, const value *, int32_t, value *);

int (*__TVMFFIHandleInitOnce)(void **, int (*)(void **)) = init_once;
int (*__TVMFFIEnvModLookupFromImports)(void *, const char *, void **) = look_up;
int (*__TVMFFIFunctionCall)(void *, const value *, int32_t, value *) = call;
