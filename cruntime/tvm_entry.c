/* What TVM's loader finds in a network's shared library, beside the C interface: functions of TVM FFI's
 * C interface (version 0.1), named __tvm_ffi_NAME, which a client calls over TVM's RPC. Tensors lie in
 * the CPU's memory, are contiguous, and are the client's to keep as long as they are used.
 *
 *     open(shape, threads, n, core 1 .. core n, constants [, coded: uint8[n]]) -> context, as an integer;
 *         the network may have been compiled for several shapes; a constant is None where `coded`
 *         holds it
 *     run(context, inputs, outputs)
 *     time(context, runs, seconds: float64[runs], inputs, outputs)
 *     profile(context, kernels: int32[n], seconds: float64[n], inputs, outputs) -> calls in one run
 *     kernels(shape, text: uint8[n]) -> bytes of the kernels' names, each with a zero behind it
 *     close(context) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "tvm_values.h"

enum { NONE = 0, INTEGER = 1, TENSOR_POINTER = 7, TENSOR_OBJECT = 70 }; /* TVMFFITypeIndex */
enum { OBJECT_HEAD = 24 };                                              /* sizeof(TVMFFIObject) */
enum { CPU = 1 };                                                       /* DLDeviceType */

/* The network of this library for a shape, NULL behind the last; the driver defines it. */
extern const tvmcomp_network *tvmcomp_library(int32_t shape);

/* TVM's loader writes the address of its function here. */
TVMCOMP_API void (*__TVMFFIErrorSetRaisedFromCStr)(const char *kind, const char *message);

static int fail(const char *message) {
  if (__TVMFFIErrorSetRaisedFromCStr) __TVMFFIErrorSetRaisedFromCStr("RuntimeError", message);
  return -1;
}

static int fail_as(tvmcomp_status status) {
  const char *lacking = tvmcomp_missing_feature(tvmcomp_library(0));
  if (status != TVMCOMP_MISSING_FEATURE || !lacking) return fail(tvmcomp_status_text(status));
  char message[80];
  snprintf(message, sizeof message, "this CPU lacks %s", lacking);
  return fail(message);
}

/* The arguments that are left to read. Once one is not as it should be, all that follow are not. */
typedef struct {
  const value *next;
  int32_t left;
  int bad;
} reader;

static int64_t next_integer(reader *from) {
  if (from->left < 1 || from->next->type != INTEGER) from->bad = 1;
  if (from->bad) return 0;
  from->left--;
  return from->next++->as.integer;
}

/* How many bytes a tensor's elements take, or UINT64_MAX where it is not on the CPU or has gaps. */
static uint64_t bytes_of(const tensor *x) {
  uint64_t elements = 1;
  for (int32_t i = x->ndim; i-- > 0;) {
    if (x->strides && x->shape[i] > 1 && x->strides[i] != (int64_t)elements) return UINT64_MAX;
    elements *= (uint64_t)x->shape[i];
  }
  return x->device_type == CPU ? (elements * x->bits * x->lanes + 7) / 8 : UINT64_MAX;
}

/* The memory of the next argument, a tensor, and its size; NULL where it is none. */
static void *next_tensor(reader *from, uint64_t *bytes) {
  const tensor *x = NULL;
  if (from->left > 0 && from->next->type == TENSOR_POINTER) x = from->next->as.pointer;
  if (from->left > 0 && from->next->type == TENSOR_OBJECT)
    x = (const tensor *)(const void *)((const char *)from->next->as.pointer + OBJECT_HEAD);
  *bytes = x ? bytes_of(x) : UINT64_MAX;
  if (*bytes == UINT64_MAX) from->bad = 1;
  if (from->bad) return NULL;
  from->left--;
  from->next++;
  return (char *)x->data + x->byte_offset;
}

/* The same, and NULL for None, of which the size is 0. */
static void *next_tensor_or_none(reader *from, uint64_t *bytes) {
  if (from->left < 1 || from->next->type != NONE) return next_tensor(from, bytes);
  from->left--;
  from->next++;
  *bytes = 0;
  return NULL;
}

/* Reads a place for each of the tensors. */
static void next_places(reader *from, const tvmcomp_tensor *tensors, int32_t count, void **places) {
  for (int32_t i = 0; i < count; i++) {
    uint64_t bytes;
    places[i] = next_tensor(from, &bytes);
    if (bytes != tensors[i].nbytes) from->bad = 1;
  }
}

/* Memory for `count` pointers or numbers, and never for none; to be given to free(). */
static void *room_for(int64_t count, size_t size) { return calloc((size_t)(count > 0 ? count : 1), size); }

static tvmcomp_context *next_context(reader *from) {
  tvmcomp_context *context = (tvmcomp_context *)(uintptr_t)next_integer(from);
  if (!context) from->bad = 1;
  return context;
}

/* The network of the shape that the next argument is the number of. */
static const tvmcomp_network *next_network(reader *from) {
  int64_t shape = next_integer(from);
  const tvmcomp_network *network = NULL;
  if (shape >= 0 && shape <= INT32_MAX) network = tvmcomp_library((int32_t)shape);
  if (!network) from->bad = 1;
  return network;
}

/* Reads the inputs and outputs, which end the arguments. The outputs begin at (*places)[num_inputs]. */
static tvmcomp_status last_places(reader *from, const tvmcomp_context *context, void ***places) {
  *places = NULL;
  if (from->bad) return TVMCOMP_BAD_ARGUMENT;
  const tvmcomp_network *network = context->network;
  *places = room_for((int64_t)network->num_inputs + network->num_outputs, sizeof(void *));
  if (!*places) return TVMCOMP_NO_MEMORY;
  next_places(from, network->inputs, network->num_inputs, *places);
  next_places(from, network->outputs, network->num_outputs, *places + network->num_inputs);
  return from->bad || from->left ? TVMCOMP_BAD_ARGUMENT : TVMCOMP_OK;
}

static int give(value *result, int64_t integer) {
  result->type = INTEGER;
  result->length = 0;
  result->as.integer = integer;
  return 0;
}

#define ENTRY(name) \
  TVMCOMP_API int __tvm_ffi_##name(void *self, const value *arguments, int32_t count, value *result); \
  int __tvm_ffi_##name(void *self, const value *arguments, int32_t count, value *result)

static tvmcomp_status open_context(reader *from, tvmcomp_context **context) {
  const tvmcomp_network *network = next_network(from);
  tvmcomp_options options = {0};
  options.threads = (int32_t)next_integer(from);
  options.num_cores = (int32_t)next_integer(from);
  if (from->bad || options.num_cores < 0 || options.num_cores > from->left)
    return TVMCOMP_BAD_ARGUMENT;
  int32_t *cores = room_for(options.num_cores, sizeof *cores);
  const void **constants = room_for(network->num_constants, sizeof *constants);
  tvmcomp_status status = cores && constants ? TVMCOMP_OK : TVMCOMP_NO_MEMORY;
  if (!status) {
    for (int32_t i = 0; i < options.num_cores; i++) cores[i] = (int32_t)next_integer(from);
    for (int32_t i = 0; i < network->num_constants; i++) {
      uint64_t bytes;
      constants[i] = next_tensor_or_none(from, &bytes);
      if (constants[i] && bytes != network->constants[i].nbytes) from->bad = 1;
    }
    tvmcomp_weights weights = {.arrays = constants};
    if (from->left) weights.coded = next_tensor(from, &weights.coded_bytes);
    options.cores = cores;
    options.weights = &weights;
    status = from->bad || from->left ? TVMCOMP_BAD_ARGUMENT
                                     : tvmcomp_create(network, &options, context);
  }
  free(constants);
  free(cores);
  return status;
}

ENTRY(open) {
  (void)self;
  reader from = {arguments, count, 0};
  tvmcomp_context *context = NULL;
  tvmcomp_status status = open_context(&from, &context);
  return status ? fail_as(status) : give(result, (int64_t)(uintptr_t)context);
}

ENTRY(run) {
  (void)self, (void)result;
  reader from = {arguments, count, 0};
  tvmcomp_context *context = next_context(&from);
  void **places;
  tvmcomp_status status = last_places(&from, context, &places);
  if (!status)
    status = tvmcomp_run(context, (const void *const *)places, places + context->network->num_inputs);
  free(places);
  return status ? fail_as(status) : 0;
}

ENTRY(time) {
  (void)self, (void)result;
  reader from = {arguments, count, 0};
  tvmcomp_context *context = next_context(&from);
  int64_t runs = next_integer(&from);
  uint64_t bytes;
  double *seconds = next_tensor(&from, &bytes);
  if (runs < 0 || runs > INT32_MAX || bytes != (uint64_t)runs * sizeof *seconds) from.bad = 1;
  void **places;
  tvmcomp_status status = last_places(&from, context, &places);
  if (!status)
    status = tvmcomp_time(context, (const void *const *)places,
                          places + context->network->num_inputs, (int32_t)runs, seconds);
  free(places);
  return status ? fail_as(status) : 0;
}

ENTRY(profile) {
  (void)self;
  reader from = {arguments, count, 0};
  tvmcomp_context *context = next_context(&from);
  uint64_t kernel_bytes, second_bytes;
  int32_t *kernels = next_tensor(&from, &kernel_bytes);
  double *seconds = next_tensor(&from, &second_bytes);
  int64_t capacity = (int64_t)(kernel_bytes / sizeof *kernels), made = 0;
  if (second_bytes / sizeof *seconds != (uint64_t)capacity) from.bad = 1;
  tvmcomp_call *calls = from.bad ? NULL : room_for(capacity, sizeof *calls);
  void **places;
  tvmcomp_status status = last_places(&from, context, &places);
  if (!status && !calls) status = TVMCOMP_NO_MEMORY;
  if (!status)
    status = tvmcomp_profile(context, (const void *const *)places,
                             places + context->network->num_inputs, calls, capacity, &made);
  for (int64_t i = 0; !status && i < made && i < capacity; i++) {
    kernels[i] = calls[i].kernel;
    seconds[i] = calls[i].seconds;
  }
  free(places);
  free(calls);
  return status ? fail_as(status) : give(result, made);
}

ENTRY(kernels) {
  (void)self;
  reader from = {arguments, count, 0};
  const tvmcomp_network *network = next_network(&from);
  uint64_t bytes, used = 0;
  char *text = next_tensor(&from, &bytes);
  if (from.bad || from.left) return fail_as(TVMCOMP_BAD_ARGUMENT);
  for (int32_t i = 0; i < network->num_kernels; i++) {
    size_t length = strlen(network->kernels[i]) + 1;
    if (used + length <= bytes) memcpy(text + used, network->kernels[i], length);
    used += length;
  }
  return give(result, (int64_t)used);
}

ENTRY(close) {
  (void)self, (void)result;
  reader from = {arguments, count, 0};
  tvmcomp_context *context = next_context(&from);
  if (from.bad || from.left) return fail_as(TVMCOMP_BAD_ARGUMENT);
  tvmcomp_destroy(context);
  return 0;
}
