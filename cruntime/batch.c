/* A batch in parts: while they go round, each thread takes some by itself; the rest is run one by one,
 * on all threads. */
#include "pool.h"

typedef struct {
  const tvmcomp_frame *frame;
  tvmcomp_part run;
  int32_t share; /* parts of a thread */
  uint64_t slice_bytes;
} batch;

static int run_share(int task, tvmcomp_parallel_env *env, void *data) {
  (void)env;
  const batch *of = data;
  uint8_t *slice = of->frame->workspace + (uint64_t)task * of->slice_bytes;
  for (int32_t i = 0; i < of->share; i++)
    if (of->run(of->frame, task * of->share + i, slice)) return -1;
  return 0;
}

int32_t tvmcomp_each_part(const tvmcomp_frame *frame, tvmcomp_part run, int32_t parts,
                          uint64_t slice_bytes, int32_t slices) {
  const int32_t threads = tvmcomp_current ? tvmcomp_current->pool->threads : 1;
  int32_t done = 0;
  /* A hook is called in the thread that runs the network. */
  if (threads > 1 && threads <= slices && !frame->hook) {
    batch of = {frame, run, parts / threads, slice_bytes};
    if (__TVMBackendParallelLaunch(run_share, &of, 0)) return -1;
    done = of.share * threads;
  }
  for (; done < parts; done++) {
    const int32_t status = run(frame, done, frame->workspace);
    if (status) return status;
  }
  return 0;
}
