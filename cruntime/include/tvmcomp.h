/* A compiled network in C: create a context, run it, destroy it.
 *
 *     tvmcomp_context *context;
 *     tvmcomp_options options = {.threads = 2};
 *     tvmcomp_status status = tvmcomp_create(&net_network, &options, &context);
 *     if (status == TVMCOMP_OK) status = tvmcomp_run(context, inputs, outputs);
 *     if (status != TVMCOMP_OK) puts(tvmcomp_status_text(status));
 *     tvmcomp_destroy(context);
 *
 * Nothing here prints, exits or keeps state outside a context, decoded weights apart. Several contexts,
 * of one network or of several, run at once in several threads; calls that share one context take
 * turns. */
#ifndef TVMCOMP_H
#define TVMCOMP_H

#include <stdint.h>

/* Raised when what is declared here changes. A network and a runtime that differ give WRONG_ABI. */
#define TVMCOMP_ABI 2

#ifndef TVMCOMP_API
#define TVMCOMP_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  TVMCOMP_OK,
  TVMCOMP_NO_MEMORY,
  TVMCOMP_BAD_ARGUMENT,    /* a null or misaligned pointer, a core that there is none of, ... */
  TVMCOMP_MISSING_FEATURE, /* the CPU lacks instructions that the network was compiled for */
  TVMCOMP_NO_PERMISSION,   /* the kernel does not let this process use AMX's tile registers */
  TVMCOMP_NO_THREADS,      /* threads can't be started, or the runtime was built without */
  TVMCOMP_KERNEL_FAILED,
  TVMCOMP_WRONG_ABI,
  TVMCOMP_DAMAGED_WEIGHTS /* coded ones that do not decode to the network's */
} tvmcomp_status;

typedef struct tvmcomp_context tvmcomp_context;

typedef struct {
  const char *name, *dtype; /* dtype as NumPy spells it: "float32", "int8", "bfloat16", ... */
  int32_t ndim;
  const int64_t *shape;
  uint64_t nbytes;
  uint32_t alignment; /* bytes that the address is a multiple of. An input or output need not be where
                         it says 64: it is then copied. */
} tvmcomp_tensor;

/* Called around each kernel, in the thread that runs the network: `kernel` is an index into the
 * network's `kernels`, `before` is 1, then 0. It must not run the context that calls it. */
typedef void (*tvmcomp_hook)(void *user, int32_t kernel, int32_t before);

/* What a network's `run` gets; for the emitted driver only. */
typedef struct {
  const void *const *inputs;
  void *const *outputs;
  const void *const *constants;
  uint8_t *workspace;
  tvmcomp_hook hook; /* may be NULL */
  void *hook_user;
} tvmcomp_frame;

/* One part of a batch; 0, or what a kernel returned. */
typedef int32_t (*tvmcomp_part)(const tvmcomp_frame *frame, int32_t part, uint8_t *workspace);
/* Runs the parts of a batch; several at once, each on a thread of its own and in a slice of the
 * workspace, as far as they go round. For the emitted driver only. */
TVMCOMP_API int32_t tvmcomp_each_part(const tvmcomp_frame *frame, tvmcomp_part run, int32_t parts,
                                      uint64_t slice_bytes, int32_t slices);

/* A network's constants. Those that are coded are decoded with the first context that is made of these
 * weights, shared by all contexts of the process that are, and freed with the last. */
typedef struct {
  const void *const *arrays; /* one for each constant; NULL: it is coded */
  const void *coded;         /* NULL: none is */
  uint64_t coded_bytes;
} tvmcomp_weights;

/* A compiled network: constant data that the emitted driver defines. */
typedef struct {
  uint32_t abi; /* TVMCOMP_ABI of the header that it was compiled with */
  const char *name;
  const char *features; /* what the code needs of the CPU: LLVM's names, comma separated */
  int32_t num_inputs, num_outputs, num_constants, num_kernels;
  const tvmcomp_tensor *inputs, *outputs, *constants;
  const tvmcomp_weights *weights; /* embedded ones, or NULL: the options give them */
  const char *const *kernels;
  uint64_t workspace;                    /* bytes; its address is a multiple of 64 */
  int32_t (*run)(const tvmcomp_frame *); /* 0, or what a kernel returned */
} tvmcomp_network;

/* One part of a kernel's work: 0 if it succeeded. */
typedef int (*tvmcomp_task)(int32_t task, int32_t tasks, void *data);
/* The caller's own threads: calls task(i, tasks, data) for each i below `tasks` once, at the same
 * time as far as possible, and returns when all have returned: 0 if all succeeded. */
typedef int (*tvmcomp_parallel_for)(void *user, tvmcomp_task task, int32_t tasks, void *data);

/* All zero are the defaults. */
typedef struct {
  int32_t threads; /* that kernels run on, the calling one included; 0: one */
  /* How long a thread without work spins before it sleeps; < 0: not at all. 0: 1 ms, or 10 us where
   * there are more threads than cores for them. */
  int32_t spin_us;
  /* The cores to run on: thread i on cores[i] if there is one for each, else all on all of them. The
   * calling thread is bound while it runs the network, and afterwards is as it was. 0: no binding. */
  const int32_t *cores;
  int32_t num_cores;
  void *workspace; /* of the network's size, its address a multiple of 64; NULL: allocated */
  const tvmcomp_weights *weights; /* where the network has none embedded; the memory that it points to
                                     must outlive the context */
  tvmcomp_parallel_for parallel_for; /* instead of threads of our own; tasks = threads */
  void *parallel_user;
  tvmcomp_hook hook; /* see tvmcomp_set_hook */
  void *hook_user;
} tvmcomp_options;

/* Makes a context of a network; `options` may be NULL. What they point to is copied, but for the
 * workspace and the weights' memory. On an error *context is NULL. */
TVMCOMP_API tvmcomp_status tvmcomp_create(const tvmcomp_network *network,
                                          const tvmcomp_options *options, tvmcomp_context **context);

/* Runs the network: inputs[i] and outputs[i] hold network->inputs[i].nbytes and
 * network->outputs[i].nbytes, contiguous. No output may overlap another or an input. */
TVMCOMP_API tvmcomp_status tvmcomp_run(tvmcomp_context *context, const void *const *inputs,
                                       void *const *outputs);

/* Runs it `runs` times and writes how many seconds each took to seconds[0 .. runs - 1]. */
TVMCOMP_API tvmcomp_status tvmcomp_time(tvmcomp_context *context, const void *const *inputs,
                                        void *const *outputs, int32_t runs, double *seconds);

/* One call of a kernel: an index into the network's `kernels`, and how long it took. */
typedef struct {
  int32_t kernel;
  double seconds;
} tvmcomp_call;

/* Runs it once and writes the first `capacity` calls in their order to `calls`, and how many there were
 * to *count. The context's hook is not called. */
TVMCOMP_API tvmcomp_status tvmcomp_profile(tvmcomp_context *context, const void *const *inputs,
                                           void *const *outputs, tvmcomp_call *calls, int64_t capacity,
                                           int64_t *count);

/* Sets what is called around each kernel from the next run on; NULL: nothing. */
TVMCOMP_API tvmcomp_status tvmcomp_set_hook(tvmcomp_context *context, tvmcomp_hook hook, void *user);

/* Ends the context's threads and frees its memory; NULL does nothing. No run may be under way. */
TVMCOMP_API void tvmcomp_destroy(tvmcomp_context *context);

/* The first of the network's features that this CPU lacks, or NULL. A feature is checked where this
 * runtime knows how to (cpu_features.c); any other counts as there. */
TVMCOMP_API const char *tvmcomp_missing_feature(const tvmcomp_network *network);

/* What a status means, in English. */
TVMCOMP_API const char *tvmcomp_status_text(tvmcomp_status status);

#ifdef __cplusplus
}
#endif
#endif
