/* What compiled kernels call. TVM's code generator emits a weak variable for each function, which
 * holds its address; the runtime's definitions of the same names take their place when linked. */
#ifndef TVMCOMP_KERNEL_IMPORTS_H
#define TVMCOMP_KERNEL_IMPORTS_H

#include <stdint.h>

/* Seen by the parts of the runtime and by the kernels, and not outside the library. */
#define TVMCOMP_HIDDEN __attribute__((visibility("hidden")))

/* TVMParallelGroupEnv: how many tasks share a kernel's work. */
typedef struct {
  void *sync; /* for barriers within a kernel, which are never emitted */
  int32_t tasks;
} tvmcomp_parallel_env;

/* FTVMParallelLambda: the part of a parallel loop that is task number `task`. */
typedef int (*tvmcomp_lambda)(int task, tvmcomp_parallel_env *env, void *data);

typedef int (*tvmcomp_launch_function)(tvmcomp_lambda lambda, void *data, int tasks);
typedef void *(*tvmcomp_allocate_function)(int device_type, int device, uint64_t bytes, int type_code,
                                           int type_bits);
typedef int (*tvmcomp_release_function)(int device_type, int device, void *array);

extern TVMCOMP_HIDDEN tvmcomp_launch_function __TVMBackendParallelLaunch;
extern TVMCOMP_HIDDEN tvmcomp_allocate_function __TVMBackendAllocWorkspace;
extern TVMCOMP_HIDDEN tvmcomp_release_function __TVMBackendFreeWorkspace;

#endif
