#include "network.h"

#include <string.h>

/* As in TVM's object files: weak variables, which the runtime's own take the place of. */
typedef struct {
  void *sync;
  int32_t tasks;
} group;
typedef int (*lambda)(int task, group *env, void *data);
__attribute__((weak)) int (*__TVMBackendParallelLaunch)(lambda, void *, int);
__attribute__((weak)) void *(*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int);
__attribute__((weak)) int (*__TVMBackendFreeWorkspace)(int, int, void *);

_Atomic int failing_kernel = -1, failing_task;
void (*_Atomic visit)(int task, int tasks);
_Atomic uint64_t array_bytes = 4 * LENGTH;

_Alignas(64) const uint32_t constants[KERNELS][ROW] = {{1, 2, 3}, {7}, {9, 8}, {1}, {5}, {4, 4}};

typedef struct {
  const uint32_t *x, *c;
  uint32_t *y;
  int kernel;
} arguments;

static int part(int task, group *env, void *data) {
  const arguments *a = data;
  if (a->kernel == failing_kernel && task == failing_task) return -1;
  if (visit) visit(task, env->tasks);
  int size = (LENGTH + env->tasks - 1) / env->tasks, first = task * size;
  int last = first + size < LENGTH ? first + size : LENGTH;
  uint32_t *sums = __TVMBackendAllocWorkspace(1, 0, array_bytes, 0, 32);
  uint32_t *products = sums ? __TVMBackendAllocWorkspace(1, 0, array_bytes / 2 + 2 * LENGTH, 0, 32) : NULL;
  if (!products) return -1;
  for (int i = first; i < last; i++) sums[i] = a->x[i] + a->c[i];
  for (int i = first; i < last; i++) products[i] = sums[i] * 3;
  for (int i = first; i < last; i++) a->y[i] = products[i];
  return __TVMBackendFreeWorkspace(1, 0, products) || __TVMBackendFreeWorkspace(1, 0, sums);
}

static int32_t shared_kernel(const void *x, const void *c, void *y, int kernel) {
  arguments a = {x, c, y, kernel};
  return __TVMBackendParallelLaunch(part, &a, 0);
}

static int32_t lone_kernel(const uint32_t *x, const uint32_t *c, uint32_t *y, int kernel) {
  if (kernel == failing_kernel) return -1;
  for (int i = 0; i < LENGTH; i++) y[i] = (x[i] + c[i]) * 3;
  return 0;
}

/* The driver: through two places of the workspace in turns, and the caller's places if aligned. */
static int32_t run(const tvmcomp_frame *frame) {
  const void *now = frame->inputs[0];
  if ((uintptr_t)now % 64) now = memcpy(frame->workspace + 8192, now, 4 * LENGTH);
  for (int kernel = 0; kernel < KERNELS; kernel++) {
    void *next = frame->workspace + kernel % 2 * 4096;
    if (frame->hook) frame->hook(frame->hook_user, kernel, 1);
    const void *c = frame->constants[kernel];
    int32_t result = kernel % 2 ? lone_kernel(now, c, next, kernel) : shared_kernel(now, c, next, kernel);
    if (frame->hook) frame->hook(frame->hook_user, kernel, 0);
    if (result) return result;
    now = next;
  }
  memcpy(frame->outputs[0], now, 4 * LENGTH);
  return 0;
}

static const int64_t shape[] = {LENGTH};
#define TENSOR(name) {name, "uint32", 1, shape, 4 * LENGTH, 64}
static const tvmcomp_tensor inputs[] = {TENSOR("x")}, outputs[] = {TENSOR("y")};
static const tvmcomp_tensor weights[KERNELS] = {TENSOR("c0"), TENSOR("c1"), TENSOR("c2"),
                                                TENSOR("c3"), TENSOR("c4"), TENSOR("c5")};
static const void *const embedded[KERNELS] = {constants[0], constants[1], constants[2],
                                              constants[3], constants[4], constants[5]};
static const tvmcomp_weights held = {.arrays = embedded};
static const char *const names[KERNELS] = {"k0", "k1", "k2", "k3", "k4", "k5"};

const tvmcomp_network network = {TVMCOMP_ABI, "chain", "", 1,        1,     KERNELS, KERNELS, inputs,
                                 outputs,     weights, &held, names, 3 * 4096, run};

void expected(const uint32_t *x, uint32_t *y) {
  for (int i = 0; i < LENGTH; i++) {
    y[i] = x[i];
    for (int kernel = 0; kernel < KERNELS; kernel++) y[i] = (y[i] + constants[kernel][i]) * 3;
  }
}

void check_run(tvmcomp_context *context, uint32_t seed) {
  /* A place that is aligned, and one that is not. */
  _Alignas(64) uint32_t x[LENGTH + 1], y[LENGTH + 1], wanted[LENGTH];
  uint32_t *at = x + seed % 2, *to = y + seed / 2 % 2;
  for (uint32_t i = 0; i < LENGTH; i++) at[i] = (i + seed) * 2654435761u;
  memset(y, 0, sizeof y);
  expected(at, wanted);
  CHECK(tvmcomp_run(context, (const void *[]){at}, (void *[]){to}) == TVMCOMP_OK);
  CHECK(!memcmp(to, wanted, sizeof wanted));
}

tvmcomp_context *with_threads(int threads) {
  tvmcomp_options options = {.threads = threads};
  tvmcomp_context *context;
  CHECK(tvmcomp_create(&network, &options, &context) == TVMCOMP_OK && context);
  return context;
}
