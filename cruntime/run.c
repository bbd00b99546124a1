/* Running a context: in its turn, on its threads and cores. */
#define _GNU_SOURCE
#include <stddef.h>

#include "affinity.h"
#include "clock.h"
#include "context.h"

/* Whether the calling thread is within a run of this context: in a hook, or in borrowed threads. */
static int within(const tvmcomp_context *context) {
  for (const tvmcomp_worker *worker = tvmcomp_current; worker; worker = worker->outer)
    if (worker->pool == &context->pool) return 1;
  return 0;
}

static tvmcomp_status run_once(tvmcomp_context *context, const tvmcomp_frame *frame) {
  tvmcomp_pool_begin(&context->pool);
  if (!context->network->run(frame)) return TVMCOMP_OK;
  tvmcomp_status status = context->pool.status ? context->pool.status : TVMCOMP_KERNEL_FAILED;
  for (int32_t i = 0; i < context->pool.threads; i++) {
    tvmcomp_arrays *arrays = &context->pool.workers[i].arrays;
    if (arrays->failed) status = TVMCOMP_NO_MEMORY;
    arrays->failed = 0;
  }
  return status;
}

/* Runs `runs` times in the turn that the calling thread has; `seconds` may be NULL. */
static tvmcomp_status run_in_turn(tvmcomp_context *context, const tvmcomp_frame *frame, int32_t runs,
                                  double *seconds) {
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
    int64_t start = seconds ? tvmcomp_now_ns() : 0;
    status = run_once(context, frame);
    if (seconds) seconds[i] = 1e-9 * (double)(tvmcomp_now_ns() - start);
  }
  tvmcomp_current = self->outer;
  if (context->num_cores) tvmcomp_affinity_set(&before);
  return status;
}

/* `hook`, if there is one, is called in place of the context's. */
static tvmcomp_status run(tvmcomp_context *context, const void *const *inputs, void *const *outputs,
                          int32_t runs, double *seconds, tvmcomp_hook hook, void *hook_user) {
  if (!context) return TVMCOMP_BAD_ARGUMENT;
  const tvmcomp_network *network = context->network;
  const void *const *places = (const void *const *)outputs;
  if (!tvmcomp_usable(inputs, network->inputs, network->num_inputs, TVMCOMP_ALIGNMENT) ||
      !tvmcomp_usable(places, network->outputs, network->num_outputs, TVMCOMP_ALIGNMENT) ||
      within(context))
    return TVMCOMP_BAD_ARGUMENT;
  tvmcomp_turn_take(&context->turn);
  tvmcomp_frame frame = context->frame;
  frame.inputs = inputs;
  frame.outputs = outputs;
  if (hook) {
    frame.hook = hook;
    frame.hook_user = hook_user;
  }
  tvmcomp_status status = run_in_turn(context, &frame, runs, seconds);
  tvmcomp_turn_give(&context->turn);
  return status;
}

tvmcomp_status tvmcomp_run(tvmcomp_context *context, const void *const *inputs, void *const *outputs) {
  return run(context, inputs, outputs, 1, NULL, NULL, NULL);
}

tvmcomp_status tvmcomp_time(tvmcomp_context *context, const void *const *inputs, void *const *outputs,
                            int32_t runs, double *seconds) {
  if (runs < 0 || (runs && !seconds)) return TVMCOMP_BAD_ARGUMENT;
  return run(context, inputs, outputs, runs, seconds, NULL, NULL);
}

/* What a profile has seen so far. */
typedef struct {
  tvmcomp_call *calls;
  int64_t capacity, count, start;
} record;

static void note(void *user, int32_t kernel, int32_t before) {
  record *seen = user;
  if (before) {
    seen->start = tvmcomp_now_ns();
    return;
  }
  double seconds = 1e-9 * (double)(tvmcomp_now_ns() - seen->start);
  if (seen->count < seen->capacity) seen->calls[seen->count] = (tvmcomp_call){kernel, seconds};
  seen->count++;
}

tvmcomp_status tvmcomp_profile(tvmcomp_context *context, const void *const *inputs,
                               void *const *outputs, tvmcomp_call *calls, int64_t capacity,
                               int64_t *count) {
  if (capacity < 0 || (capacity && !calls) || !count) return TVMCOMP_BAD_ARGUMENT;
  record seen = {calls, capacity, 0, 0};
  tvmcomp_status status = run(context, inputs, outputs, 1, NULL, note, &seen);
  *count = seen.count;
  return status;
}

tvmcomp_status tvmcomp_set_hook(tvmcomp_context *context, tvmcomp_hook hook, void *user) {
  if (!context || within(context)) return TVMCOMP_BAD_ARGUMENT;
  tvmcomp_turn_take(&context->turn);
  context->frame.hook = hook;
  context->frame.hook_user = user;
  tvmcomp_turn_give(&context->turn);
  return TVMCOMP_OK;
}
