/* A batch in parts: while they go round, each thread takes some by itself; the rest is run one by one,
 * on all threads. */
#include "pool.h"

typedef struct {
  const tvmcomp_frame *frame;
  tvmcomp_part run;
  int32_t together, workers; /* so many parts, shared out evenly */
  uint64_t slice_bytes;
} batch;

static int run_share(int task, tvmcomp_parallel_env *env, void *data) {
  const batch *of = data;
  const int32_t share = of->together / of->workers;
  (void)env;
  if (task >= of->workers) return 0;
  for (int32_t i = 0; i < share; i++)
    if (of->run(of->frame, task * share + i, of->frame->workspace + (uint64_t)task * of->slice_bytes))
      return -1;
  return 0;
}

int32_t tvmcomp_each_part(const tvmcomp_frame *frame, tvmcomp_part run, int32_t parts,
                          uint64_t slice_bytes, int32_t slices) {
  int32_t workers = tvmcomp_current ? tvmcomp_current->pool->threads : 1;
  batch of = {frame, run, 0, workers < slices ? workers : slices, slice_bytes};
  /* A hook is called in the thread that runs the network. */
  if (workers > 1 && workers <= parts && !frame->hook) of.together = parts - parts % of.workers;
  if (of.together && __TVMBackendParallelLaunch(run_share, &of, 0)) return -1;
  for (int32_t i = of.together; i < parts; i++) {
    const int32_t status = run(frame, i, frame->workspace);
    if (status) return status;
  }
  return 0;
}
