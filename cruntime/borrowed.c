/* Loops of kernels on threads that the caller lends. */
#include <stddef.h>

#include "pool.h"

typedef struct {
  tvmcomp_pool *pool;
  tvmcomp_lambda lambda;
  void *data;
} borrowed;

static int run_task(int32_t task, int32_t tasks, void *data) {
  const borrowed *loop = data;
  if (task < 0 || task >= loop->pool->threads || tasks != loop->pool->threads) return -1;
  tvmcomp_worker *before = tvmcomp_current; /* the caller's threads may be in a network of theirs */
  tvmcomp_parallel_env env = {NULL, tasks};
  tvmcomp_worker *worker = &loop->pool->workers[task];
  tvmcomp_current = worker;
  worker->result = loop->lambda(task, &env, loop->data);
  tvmcomp_current = before;
  return worker->result;
}

void tvmcomp_run_borrowed(tvmcomp_pool *pool, tvmcomp_lambda lambda, void *data) {
  borrowed loop = {pool, lambda, data};
  /* A task that the caller leaves out has failed. */
  for (int32_t i = 0; i < pool->threads; i++) pool->workers[i].result = -1;
  int failed = pool->parallel_for(pool->parallel_user, run_task, pool->threads, &loop);
  if (failed) pool->workers[0].result = -1;
}
