/* For a network whose kernels lie in libraries of their own, where the tuner replaces them: gives such
 * a library what its kernels call. */
#include "kernel_imports.h"

#include "include/tvmcomp.h"

TVMCOMP_API void tvmcomp_serve(tvmcomp_launch_function *launch, tvmcomp_allocate_function *allocate,
                               tvmcomp_release_function *release);

/* Sets the library's variables of those names; NULL: it has none of it. */
void tvmcomp_serve(tvmcomp_launch_function *launch, tvmcomp_allocate_function *allocate,
                   tvmcomp_release_function *release) {
  if (launch) *launch = __TVMBackendParallelLaunch;
  if (allocate) *allocate = __TVMBackendAllocWorkspace;
  if (release) *release = __TVMBackendFreeWorkspace;
}
