/* The C interface: a network, its memory and its threads. */
#define _GNU_SOURCE
#include "include/tvmcomp.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "affinity.h"
#include "cpu_features.h"
#include "pool.h"
#include "turn.h"

#define WORKSPACE_ALIGNMENT 64

struct tvmcomp_context {
  tvmcomp_pool pool;
  tvmcomp_turn turn; /* of the calls that share this context */
  const tvmcomp_network *network;
  tvmcomp_frame frame;     /* its inputs and outputs are those of the run under way */
  const void **constants;  /* our copy of the caller's pointers, or NULL */
  int32_t *cores;
  int32_t num_cores;
  void *own_workspace; /* NULL: the caller's */
};

static int misaligned(const void *pointer, uint32_t alignment) {
  return alignment > 1 && (uintptr_t)pointer % alignment;
}

static int any_missing(const void *const *pointers, const tvmcomp_tensor *tensors, int32_t count) {
  if (count && !pointers) return 1;
  for (int32_t i = 0; i < count; i++)
    if (!pointers[i] && tensors[i].nbytes) return 1;
  return 0;
}

static tvmcomp_status check(const tvmcomp_network *network, const tvmcomp_options *options) {
  if (network->abi != TVMCOMP_ABI) return TVMCOMP_WRONG_ABI;
  if (options->threads < 0 || options->num_cores < 0) return TVMCOMP_BAD_ARGUMENT;
  if (options->num_cores && !options->cores) return TVMCOMP_BAD_ARGUMENT;
  if (misaligned(options->workspace, WORKSPACE_ALIGNMENT)) return TVMCOMP_BAD_ARGUMENT;
  const void *const *constants = network->constant_data ? network->constant_data : options->constants;
  if (any_missing(constants, network->constants, network->num_constants)) return TVMCOMP_BAD_ARGUMENT;
  for (int32_t i = 0; i < network->num_constants; i++)
    if (misaligned(constants[i], network->constants[i].alignment)) return TVMCOMP_BAD_ARGUMENT;
  if (tvmcomp_lacking(network->features)) return TVMCOMP_MISSING_FEATURE;
  return tvmcomp_ask_leave(network->features) ? TVMCOMP_NO_PERMISSION : TVMCOMP_OK;
}

/* A copy of `count` things of `size` bytes, or NULL. */
static void *copy_of(const void *source, int32_t count, size_t size) {
  void *copy = malloc((size_t)count * size);
  if (copy) memcpy(copy, source, (size_t)count * size);
  return copy;
}

static tvmcomp_status take_memory(tvmcomp_context *context, const tvmcomp_options *options) {
  const tvmcomp_network *network = context->network;
  context->frame.constants = network->constant_data;
  if (!network->constant_data && network->num_constants) {
    context->constants = copy_of(options->constants, network->num_constants, sizeof(void *));
    if (!context->constants) return TVMCOMP_NO_MEMORY;
    context->frame.constants = context->constants;
  }
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
    status = tvmcomp_turn_start(&context->turn, &context->pool);
    if (status) tvmcomp_pool_stop(&context->pool);
  }
  if (status) {
    free_memory(context);
    return status;
  }
  *out = context;
  return TVMCOMP_OK;
}

/* Whether the calling thread is within a run of this context: from a hook, or another's threads. */
static int within(const tvmcomp_context *context) {
  for (const tvmcomp_worker *worker = tvmcomp_current; worker; worker = worker->outer)
    if (worker->pool == &context->pool) return 1;
  return 0;
}

static tvmcomp_status run_once(tvmcomp_context *context) {
  int32_t result = context->network->run(&context->frame);
  if (!result) return TVMCOMP_OK;
  tvmcomp_status status = TVMCOMP_KERNEL_FAILED;
  for (int32_t i = 0; i < context->pool.threads; i++) {
    tvmcomp_arrays *arrays = &context->pool.workers[i].arrays;
    if (arrays->failed) status = TVMCOMP_NO_MEMORY;
    arrays->failed = 0;
  }
  return status;
}

static double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Runs in the context's turn, `runs` times; `seconds` may be NULL. */
static tvmcomp_status run_in_turn(tvmcomp_context *context, int32_t runs, double *seconds) {
  tvmcomp_affinity before;
  if (context->num_cores) {
    if (tvmcomp_affinity_get(&before)) return TVMCOMP_BAD_ARGUMENT;
    if (tvmcomp_bind(0, context->pool.threads, context->cores, context->num_cores))
      return TVMCOMP_BAD_ARGUMENT;
  }
  tvmcomp_worker *self = &context->pool.workers[0];
  self->outer = tvmcomp_current;
  tvmcomp_current = self;
  tvmcomp_status status = TVMCOMP_OK;
  for (int32_t i = 0; i < runs && !status; i++) {
    double start = seconds ? seconds_now() : 0;
    status = run_once(context);
    if (seconds) seconds[i] = seconds_now() - start;
  }
  tvmcomp_current = self->outer;
  if (context->num_cores) tvmcomp_affinity_set(&before);
  return status;
}

static tvmcomp_status run(tvmcomp_context *context, const void *const *inputs, void *const *outputs,
                          int32_t runs, double *seconds) {
  if (!context) return TVMCOMP_BAD_ARGUMENT;
  const tvmcomp_network *network = context->network;
  if (any_missing(inputs, network->inputs, network->num_inputs) ||
      any_missing((const void *const *)outputs, network->outputs, network->num_outputs) ||
      within(context))
    return TVMCOMP_BAD_ARGUMENT;
  tvmcomp_status status = tvmcomp_turn_take(&context->turn, &context->pool);
  if (status) return status;
  context->frame.inputs = inputs;
  context->frame.outputs = outputs;
  status = run_in_turn(context, runs, seconds);
  tvmcomp_turn_give(&context->turn);
  return status;
}

tvmcomp_status tvmcomp_run(tvmcomp_context *context, const void *const *inputs, void *const *outputs) {
  return run(context, inputs, outputs, 1, NULL);
}

tvmcomp_status tvmcomp_time(tvmcomp_context *context, const void *const *inputs, void *const *outputs,
                            int32_t runs, double *seconds) {
  if (runs < 0 || (runs && !seconds)) return TVMCOMP_BAD_ARGUMENT;
  return run(context, inputs, outputs, runs, seconds);
}

tvmcomp_status tvmcomp_set_hook(tvmcomp_context *context, tvmcomp_hook hook, void *user) {
  if (!context || within(context)) return TVMCOMP_BAD_ARGUMENT;
  tvmcomp_status status = tvmcomp_turn_take(&context->turn, &context->pool);
  if (status) return status;
  context->frame.hook = hook;
  context->frame.hook_user = user;
  tvmcomp_turn_give(&context->turn);
  return TVMCOMP_OK;
}

void tvmcomp_destroy(tvmcomp_context *context) {
  if (!context) return;
  tvmcomp_turn_end(&context->turn, &context->pool);
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
  }
  return "an unknown status";
}
