/* What one thread sees of the interface; also built without threads. Usage: check_interface CHECK */
#include <string.h>

#include "network.h"

static uint32_t x[LENGTH], y[LENGTH];
static const void *const in[] = {x};
static void *const out[] = {y};

static tvmcomp_status create(const tvmcomp_network *n, const tvmcomp_options *options) {
  tvmcomp_context *context = (tvmcomp_context *)x;
  tvmcomp_status status = tvmcomp_create(n, options, &context);
  CHECK(!context == (status != TVMCOMP_OK));
  tvmcomp_destroy(context);
  return status;
}

static void runs(void) {
  tvmcomp_context *context;
  CHECK(tvmcomp_create(&network, NULL, &context) == TVMCOMP_OK);
  for (uint32_t i = 0; i < 20; i++) check_run(context, i);
  tvmcomp_destroy(context);
  tvmcomp_destroy(NULL);
}

static void bad_arguments(void) {
  static _Alignas(64) uint8_t space[3 * 4096 + 64];
  int32_t far[] = {1 << 20}, negative[] = {-1};
  const void *given[KERNELS] = {NULL};
  tvmcomp_weights weights = {.arrays = given};
  tvmcomp_network other = network;
  CHECK(tvmcomp_create(&network, NULL, NULL) == TVMCOMP_BAD_ARGUMENT);
  CHECK(create(NULL, NULL) == TVMCOMP_BAD_ARGUMENT);
  CHECK(create(&network, &(tvmcomp_options){.threads = -1}) == TVMCOMP_BAD_ARGUMENT);
  if (sizeof(size_t) == 4) /* else there may be as much memory */
    CHECK(create(&network, &(tvmcomp_options){.threads = INT32_MAX}) == TVMCOMP_NO_MEMORY);
  CHECK(create(&network, &(tvmcomp_options){.num_cores = 1}) == TVMCOMP_BAD_ARGUMENT);
  CHECK(create(&network, &(tvmcomp_options){.num_cores = 1, .cores = far}) == TVMCOMP_BAD_ARGUMENT);
  CHECK(create(&network, &(tvmcomp_options){.num_cores = 1, .cores = negative}) == TVMCOMP_BAD_ARGUMENT);
  CHECK(create(&network, &(tvmcomp_options){.workspace = space + 1}) == TVMCOMP_BAD_ARGUMENT);
  other.weights = NULL;
  CHECK(create(&other, NULL) == TVMCOMP_BAD_ARGUMENT);
  CHECK(create(&other, &(tvmcomp_options){.weights = &weights}) == TVMCOMP_BAD_ARGUMENT);
  for (int i = 0; i < KERNELS; i++) given[i] = constants[i];
  given[3] = space + 4;
  CHECK(create(&other, &(tvmcomp_options){.weights = &weights}) == TVMCOMP_BAD_ARGUMENT);
  other.abi++;
  CHECK(create(&other, NULL) == TVMCOMP_WRONG_ABI);

  tvmcomp_context *context = with_threads(1);
  double seconds;
  CHECK(tvmcomp_run(NULL, in, out) == TVMCOMP_BAD_ARGUMENT);
  CHECK(tvmcomp_run(context, NULL, out) == TVMCOMP_BAD_ARGUMENT);
  CHECK(tvmcomp_run(context, in, (void *[]){NULL}) == TVMCOMP_BAD_ARGUMENT);
  CHECK(tvmcomp_time(context, in, out, -1, &seconds) == TVMCOMP_BAD_ARGUMENT);
  CHECK(tvmcomp_time(context, in, out, 1, NULL) == TVMCOMP_BAD_ARGUMENT);
  CHECK(tvmcomp_set_hook(NULL, NULL, NULL) == TVMCOMP_BAD_ARGUMENT);
  tvmcomp_destroy(context);
}

/* Constants and a workspace of the caller's own, which nothing is written beside. */
static void given(void) {
  static _Alignas(64) uint8_t space[3 * 4096 + 64];
  memset(space, 0xa5, sizeof space);
  const void *own[KERNELS];
  for (int i = 0; i < KERNELS; i++) own[i] = constants[i];
  tvmcomp_network bare = network;
  bare.weights = NULL;
  tvmcomp_context *context;
  tvmcomp_weights weights = {.arrays = own};
  tvmcomp_options options = {.workspace = space, .weights = &weights};
  CHECK(tvmcomp_create(&bare, &options, &context) == TVMCOMP_OK);
  memset(own, 0, sizeof own); /* the pointers were copied */
  for (uint32_t i = 0; i < 8; i++) check_run(context, i);
  tvmcomp_destroy(context);
  CHECK(space[0] != 0xa5 || space[1] != 0xa5);
  for (size_t i = 3 * 4096; i < sizeof space; i++) CHECK(space[i] == 0xa5);
}

static void failing(void) {
  tvmcomp_context *context = with_threads(1);
  for (int kernel = 0; kernel < KERNELS; kernel++) {
    failing_kernel = kernel;
    CHECK(tvmcomp_run(context, in, out) == TVMCOMP_KERNEL_FAILED);
    failing_kernel = -1;
    check_run(context, (uint32_t)kernel);
  }
  array_bytes = (uint64_t)1 << 60;
  CHECK(tvmcomp_run(context, in, out) == TVMCOMP_NO_MEMORY);
  array_bytes = UINT64_MAX;
  CHECK(tvmcomp_run(context, in, out) == TVMCOMP_NO_MEMORY);
  array_bytes = 4 * LENGTH;
  failing_kernel = 1; /* what was short before is not short now */
  CHECK(tvmcomp_run(context, in, out) == TVMCOMP_KERNEL_FAILED);
  failing_kernel = -1;
  check_run(context, 1);
  tvmcomp_destroy(context);
}

typedef struct {
  int calls;
  tvmcomp_context *self, *other;
} watcher;

static void watch(void *user, int32_t kernel, int32_t before) {
  watcher *w = user;
  CHECK(kernel == w->calls / 2 && before == !(w->calls % 2));
  w->calls++;
  CHECK(tvmcomp_run(w->self, in, out) == TVMCOMP_BAD_ARGUMENT);
  CHECK(tvmcomp_set_hook(w->self, NULL, NULL) == TVMCOMP_BAD_ARGUMENT);
  if (w->other) check_run(w->other, (uint32_t)kernel);
}

static void hooks(void) {
  watcher w = {0, NULL, with_threads(1)};
  tvmcomp_options options = {.hook = watch, .hook_user = &w};
  CHECK(tvmcomp_create(&network, &options, &w.self) == TVMCOMP_OK);
  check_run(w.self, 5);
  CHECK(w.calls == 2 * KERNELS);
  CHECK(tvmcomp_set_hook(w.self, NULL, NULL) == TVMCOMP_OK);
  check_run(w.self, 6);
  CHECK(w.calls == 2 * KERNELS);
  w.calls = 0;
  CHECK(tvmcomp_set_hook(w.other, watch, &(watcher){0, w.other, NULL}) == TVMCOMP_OK);
  CHECK(tvmcomp_set_hook(w.self, watch, &w) == TVMCOMP_OK);
  CHECK(tvmcomp_set_hook(w.other, NULL, NULL) == TVMCOMP_OK);
  check_run(w.self, 7);
  CHECK(w.calls == 2 * KERNELS);
  tvmcomp_destroy(w.self);
  tvmcomp_destroy(w.other);
}

static void timing(void) {
  tvmcomp_context *context = with_threads(1);
  double seconds[5] = {-1, -1, -1, -1, -1};
  CHECK(tvmcomp_time(context, in, out, 4, seconds) == TVMCOMP_OK);
  for (int i = 0; i < 4; i++) CHECK(seconds[i] > 0 && seconds[i] < 60);
  CHECK(seconds[4] == -1);
  uint32_t wanted[LENGTH];
  expected(x, wanted);
  CHECK(!memcmp(y, wanted, sizeof y));
  failing_kernel = 2;
  CHECK(tvmcomp_time(context, in, out, 4, seconds) == TVMCOMP_KERNEL_FAILED);
  tvmcomp_destroy(context);
}

static void profiling(void) {
  watcher w = {0, NULL, NULL};
  tvmcomp_options options = {.hook = watch, .hook_user = &w};
  tvmcomp_context *context;
  CHECK(tvmcomp_create(&network, &options, &context) == TVMCOMP_OK);
  tvmcomp_call calls[KERNELS + 1];
  int64_t calls_made;
  for (int64_t capacity = 0; capacity <= KERNELS + 1; capacity++) {
    for (int i = 0; i <= KERNELS; i++) calls[i] = (tvmcomp_call){-1, -1};
    calls_made = -1;
    CHECK(tvmcomp_profile(context, in, out, calls, capacity, &calls_made) == TVMCOMP_OK);
    CHECK(calls_made == KERNELS);
    for (int i = 0; i <= KERNELS; i++)
      CHECK(i < capacity && i < KERNELS ? calls[i].kernel == i && calls[i].seconds >= 0
                                        : calls[i].kernel == -1);
  }
  CHECK(w.calls == 0);
  CHECK(tvmcomp_profile(context, in, out, NULL, 0, &calls_made) == TVMCOMP_OK);
  CHECK(tvmcomp_profile(context, in, out, NULL, 1, &calls_made) == TVMCOMP_BAD_ARGUMENT);
  CHECK(tvmcomp_profile(context, in, out, calls, 1, NULL) == TVMCOMP_BAD_ARGUMENT);
  failing_kernel = 3;
  CHECK(tvmcomp_profile(context, in, out, calls, 1, &calls_made) == TVMCOMP_KERNEL_FAILED);
  tvmcomp_destroy(context);
}

/* What is to be aligned to 64 bytes is copied where it is not; a float must lie where a float can. */
static void alignment(void) {
  tvmcomp_network strict = network;
  tvmcomp_tensor input = network.inputs[0], output = network.outputs[0];
  strict.inputs = &input;
  strict.outputs = &output;
  static _Alignas(64) uint8_t bytes[4 * LENGTH + 64];
  tvmcomp_context *context;
  CHECK(tvmcomp_create(&strict, NULL, &context) == TVMCOMP_OK);
  CHECK(tvmcomp_run(context, (const void *[]){bytes + 1}, out) == TVMCOMP_OK);
  input.alignment = output.alignment = 4;
  CHECK(tvmcomp_run(context, (const void *[]){bytes + 1}, out) == TVMCOMP_BAD_ARGUMENT);
  CHECK(tvmcomp_run(context, in, (void *[]){bytes + 2}) == TVMCOMP_BAD_ARGUMENT);
  CHECK(tvmcomp_run(context, (const void *[]){bytes + 4}, out) == TVMCOMP_OK);
  tvmcomp_destroy(context);
}

static void features(void) {
  tvmcomp_network other = network;
  other.features = "a-feature-of-the-future,another";
  CHECK(!tvmcomp_missing_feature(&other));
  CHECK(create(&other, NULL) == TVMCOMP_OK);
}

static void texts(void) {
  for (int i = TVMCOMP_OK; i <= TVMCOMP_WRONG_ABI; i++)
    for (int j = TVMCOMP_OK; j < i; j++)
      CHECK(strcmp(tvmcomp_status_text((tvmcomp_status)i), tvmcomp_status_text((tvmcomp_status)j)));
}

/* Threads that the caller runs one after another. */
static int in_turns(void *user, tvmcomp_task task, int32_t tasks, void *data) {
  int failed = 0;
  for (int32_t i = 0; i < tasks; i++)
    if (!user || i != *(int *)user) failed |= task(i, tasks, data);
  return failed;
}

static void borrowed(void) {
  int left_out = -1;
  tvmcomp_options options = {.threads = 5, .parallel_for = in_turns, .parallel_user = &left_out};
  tvmcomp_context *context;
  CHECK(tvmcomp_create(&network, &options, &context) == TVMCOMP_OK);
  for (uint32_t i = 0; i < 8; i++) check_run(context, i);
  for (left_out = 0; left_out < 5; left_out++)
    CHECK(tvmcomp_run(context, in, out) == TVMCOMP_KERNEL_FAILED);
  failing_kernel = 4;
  failing_task = 3;
  CHECK(tvmcomp_run(context, in, out) == TVMCOMP_KERNEL_FAILED);
  failing_kernel = -1;
  check_run(context, 1);
  tvmcomp_destroy(context);
}

static void threadless(void) {
#ifdef TVMCOMP_WITHOUT_THREADS
  CHECK(create(&network, &(tvmcomp_options){.threads = 2}) == TVMCOMP_NO_THREADS);
#endif
  CHECK(create(&network, &(tvmcomp_options){.threads = 1}) == TVMCOMP_OK);
}

int main(int count, char **arguments) {
  static const struct {
    const char *name;
    void (*check)(void);
  } checks[] = {{"runs", runs},         {"bad_arguments", bad_arguments},
                {"given", given},       {"failing", failing},
                {"hooks", hooks},       {"timing", timing},
                {"features", features}, {"texts", texts},
                {"borrowed", borrowed}, {"threadless", threadless},
                {"profiling", profiling}, {"alignment", alignment}};
  CHECK(count == 2);
  for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
    if (!strcmp(checks[i].name, arguments[1])) {
      checks[i].check();
      return 0;
    }
  CHECK(!"there is such a check");
}
