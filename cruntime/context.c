/* Making and ending a context: checks, memory, threads. */
#include "context.h"

#include <stdlib.h>
#include <string.h>

#include "cpu_features.h"

static int misaligned(const void *pointer, uint32_t alignment) {
  return alignment > 1 && (uintptr_t)pointer % alignment;
}

int tvmcomp_usable(const void *const *places, const tvmcomp_tensor *tensors, int32_t count,
                   uint32_t copied) {
  if (count && !places) return 0;
  for (int32_t i = 0; i < count; i++) {
    if (!places[i] && tensors[i].nbytes) return 0;
    if (tensors[i].alignment < copied && misaligned(places[i], tensors[i].alignment)) return 0;
  }
  return 1;
}

static const tvmcomp_weights *weights_of(const tvmcomp_network *network,
                                         const tvmcomp_options *options) {
  return network->weights ? network->weights : options->weights;
}

static tvmcomp_status check(const tvmcomp_network *network, const tvmcomp_options *options) {
  if (network->abi != TVMCOMP_ABI) return TVMCOMP_WRONG_ABI;
  if (options->threads < 0 || options->num_cores < 0) return TVMCOMP_BAD_ARGUMENT;
  if (options->num_cores && !options->cores) return TVMCOMP_BAD_ARGUMENT;
  if (misaligned(options->workspace, TVMCOMP_ALIGNMENT)) return TVMCOMP_BAD_ARGUMENT;
  const tvmcomp_weights *weights = weights_of(network, options);
  if (network->num_constants && (!weights || !weights->arrays)) return TVMCOMP_BAD_ARGUMENT;
  if (tvmcomp_lacking(network->features)) return TVMCOMP_MISSING_FEATURE;
  return tvmcomp_ask_leave(network->features) ? TVMCOMP_NO_PERMISSION : TVMCOMP_OK;
}

/* A copy of `count` things of `size` bytes, or NULL. */
static void *copy_of(const void *source, int32_t count, size_t size) {
  void *copy = malloc((size_t)count * size);
  if (copy) memcpy(copy, source, (size_t)count * size);
  return copy;
}

static tvmcomp_status take_weights(tvmcomp_context *context, const tvmcomp_weights *weights) {
  const tvmcomp_network *network = context->network;
  if (!network->num_constants) return TVMCOMP_OK;
  context->frame.constants = weights->arrays;
  if (weights != network->weights || weights->coded) {
    context->constants = copy_of(weights->arrays, network->num_constants, sizeof(void *));
    if (!context->constants) return TVMCOMP_NO_MEMORY;
    context->frame.constants = context->constants;
  }
  if (weights->coded) {
    tvmcomp_status status =
        tvmcomp_take_decoded(network, weights, context->constants, &context->decoded);
    if (status) return status;
  }
  int fit = tvmcomp_usable(context->frame.constants, network->constants, network->num_constants,
                           UINT32_MAX);
  return fit ? TVMCOMP_OK : TVMCOMP_BAD_ARGUMENT;
}

static tvmcomp_status take_memory(tvmcomp_context *context, const tvmcomp_options *options) {
  const tvmcomp_network *network = context->network;
  tvmcomp_status status = take_weights(context, weights_of(network, options));
  if (status) return status;
  if (options->num_cores) {
    context->cores = copy_of(options->cores, options->num_cores, sizeof(int32_t));
    if (!context->cores) return TVMCOMP_NO_MEMORY;
    context->num_cores = options->num_cores;
  }
  context->frame.workspace = options->workspace;
  if (!options->workspace && network->workspace) {
    context->own_workspace = tvmcomp_aligned(network->workspace);
    if (!context->own_workspace) return TVMCOMP_NO_MEMORY;
    context->frame.workspace = context->own_workspace;
  }
  return TVMCOMP_OK;
}

static void free_memory(tvmcomp_context *context) {
  free(context->own_workspace);
  free(context->cores);
  free(context->constants);
  tvmcomp_give_decoded(context->decoded);
  free(context);
}

tvmcomp_status tvmcomp_create(const tvmcomp_network *network, const tvmcomp_options *options,
                              tvmcomp_context **out) {
  if (!out) return TVMCOMP_BAD_ARGUMENT;
  *out = NULL;
  if (!network) return TVMCOMP_BAD_ARGUMENT;
  tvmcomp_options given = {0};
  if (options) given = *options;
  tvmcomp_status status = check(network, &given);
  if (status) return status;
  tvmcomp_context *context = aligned_alloc(TVMCOMP_APART, sizeof *context);
  if (!context) return TVMCOMP_NO_MEMORY;
  memset(context, 0, sizeof *context);
  context->network = network;
  context->frame.hook = given.hook;
  context->frame.hook_user = given.hook_user;
  status = take_memory(context, &given);
  given.cores = context->cores;
  if (!status) status = tvmcomp_pool_start(&context->pool, &given);
  if (!status) {
    status = tvmcomp_turn_start(&context->turn);
    if (status) tvmcomp_pool_stop(&context->pool);
  }
  if (status) {
    free_memory(context);
    return status;
  }
  *out = context;
  return TVMCOMP_OK;
}

void tvmcomp_destroy(tvmcomp_context *context) {
  if (!context) return;
  tvmcomp_turn_end(&context->turn);
  tvmcomp_pool_stop(&context->pool);
  free_memory(context);
}

const char *tvmcomp_missing_feature(const tvmcomp_network *network) {
  return tvmcomp_lacking(network->features);
}

const char *tvmcomp_status_text(tvmcomp_status status) {
  switch (status) {
    case TVMCOMP_OK: return "it succeeded";
    case TVMCOMP_NO_MEMORY: return "there is not enough memory";
    case TVMCOMP_BAD_ARGUMENT: return "an argument is missing, misaligned or out of range";
    case TVMCOMP_MISSING_FEATURE: return "this CPU lacks instructions that the network uses";
    case TVMCOMP_NO_PERMISSION: return "the system does not let this process use AMX's tile registers";
    case TVMCOMP_NO_THREADS: return "the threads can't be started";
    case TVMCOMP_KERNEL_FAILED: return "a kernel failed";
    case TVMCOMP_WRONG_ABI: return "the network was compiled for another version of this runtime";
    case TVMCOMP_DAMAGED_WEIGHTS: return "the coded weights are damaged";
  }
  return "an unknown status";
}
