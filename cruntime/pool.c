/* Divides the loops of kernels among threads. Those of a context wait for its next kernel spinning,
 * since it comes within microseconds, and sleep when none has come for a while.
 *
 * One loop is one round: the calling thread writes what is to be done and raises `round`; each worker
 * does its task and writes the round to its own `done`, a line that no other thread writes. */
#define _GNU_SOURCE
#include "pool.h"

#include <stdlib.h>
#include <string.h>

TVMCOMP_HIDDEN TVMCOMP_THREAD_LOCAL tvmcomp_worker *tvmcomp_current;

static int alone(tvmcomp_lambda lambda, void *data) {
  tvmcomp_parallel_env env = {NULL, 1};
  return lambda(0, &env, data);
}

/* 0 if every task has been done and succeeded. */
static int result_of(const tvmcomp_pool *pool) {
  for (int32_t i = 0; i < pool->threads; i++)
    if (pool->workers[i].result) return -1;
  return 0;
}

#ifdef TVMCOMP_WITHOUT_THREADS
static void run_threads(tvmcomp_pool *pool, tvmcomp_lambda lambda, void *data) {
  pool->workers[0].result = alone(lambda, data); /* there is but one */
}

static tvmcomp_status start_threads(tvmcomp_pool *pool) {
  return pool->threads == 1 || pool->parallel_for ? TVMCOMP_OK : TVMCOMP_NO_THREADS;
}
#else
#include <signal.h>
#include <unistd.h>

#include "affinity.h"
#include "spin.h"

/* Sleeping and waking cost some 50 us; the gaps between kernels and between quick calls are shorter. */
#define DEFAULT_SPIN_NS 1000000
/* Where threads share a core, one that spins keeps another from its work: no longer than to sleep and
 * wake takes. (4 threads on 2 busy cores took up to 6 times the CPU's time with the above.) */
#define CROWDED_SPIN_NS 10000
/* Kernels keep small arrays on the stack; musl's threads would have 128 KiB. */
#define STACK_BYTES (1u << 20)

static void sleep_while(tvmcomp_pool *pool, uint32_t old) {
  pthread_mutex_lock(&pool->mutex);
  /* next_round raises `round` and then looks for sleepers, this the other way round: one sees the
   * other. */
  atomic_fetch_add(&pool->sleepers, 1);
  while (atomic_load(&pool->round) == old) pthread_cond_wait(&pool->wake, &pool->mutex);
  atomic_fetch_sub(&pool->sleepers, 1);
  pthread_mutex_unlock(&pool->mutex);
}

static void next_round(tvmcomp_pool *pool) {
  atomic_fetch_add(&pool->round, 1);
  if (!atomic_load(&pool->sleepers)) return;
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->mutex);
}

static void *work(void *argument) {
  tvmcomp_worker *worker = argument;
  tvmcomp_pool *pool = worker->pool;
  tvmcomp_current = worker;
  for (uint32_t seen = 0;;) {
    if (!tvmcomp_spin_while(&pool->round, seen, pool->spin_ns, pool->crowded)) sleep_while(pool, seen);
    seen++;
    if (atomic_load_explicit(&pool->quit, memory_order_relaxed)) return NULL;
    worker->result = pool->lambda(worker->index, &pool->env, pool->data);
    atomic_store_explicit(&worker->done, seen, memory_order_release);
  }
}

/* Ends the first `threads` of them. */
static void join_threads(tvmcomp_pool *pool, int32_t threads) {
  atomic_store_explicit(&pool->quit, 1, memory_order_relaxed);
  next_round(pool);
  for (int32_t i = 1; i < threads; i++) pthread_join(pool->workers[i].thread, NULL);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->mutex);
}

/* Creates the threads, each bound to its cores, which it has of the thread that creates it. */
static tvmcomp_status create_threads(tvmcomp_pool *pool, const pthread_attr_t *attributes) {
  for (int32_t i = 1; i < pool->threads; i++) {
    tvmcomp_status status = TVMCOMP_OK;
    if (pool->num_cores && tvmcomp_bind(i, pool->threads, pool->cores, pool->num_cores))
      status = TVMCOMP_BAD_ARGUMENT;
    else if (pthread_create(&pool->workers[i].thread, attributes, work, &pool->workers[i]))
      status = TVMCOMP_NO_THREADS;
    if (status) {
      join_threads(pool, i);
      return status;
    }
  }
  return TVMCOMP_OK;
}

static tvmcomp_status start_threads(tvmcomp_pool *pool) {
  tvmcomp_affinity caller;
  if (pool->num_cores) {
    if (tvmcomp_affinity_get(&caller)) return TVMCOMP_BAD_ARGUMENT;
    if (tvmcomp_bind(0, pool->threads, pool->cores, pool->num_cores)) return TVMCOMP_BAD_ARGUMENT;
  }
  tvmcomp_status status = TVMCOMP_OK;
  if (pool->threads > 1 && !pool->parallel_for) {
    int32_t cores = pool->num_cores ? pool->num_cores : tvmcomp_affinity_count();
    pool->crowded = cores && pool->threads > cores;
    pool->spin_ns = pool->spin_us < 0 ? 0 : (int64_t)pool->spin_us * 1000;
    if (!pool->spin_us) pool->spin_ns = pool->crowded ? CROWDED_SPIN_NS : DEFAULT_SPIN_NS;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigset_t all, before; /* the program's signal handlers run in the program's threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    status = create_threads(pool, &attributes);
    if (!status) pool->process = getpid();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
  }
  if (pool->num_cores) tvmcomp_affinity_set(&caller);
  return status;
}

/* A forked process has no threads but the one that forked: starts them anew there. */
static tvmcomp_status check_process(tvmcomp_pool *pool) {
  if (pool->checked) return TVMCOMP_OK;
  if (pool->process != getpid()) {
    atomic_store(&pool->round, 0);
    atomic_store(&pool->sleepers, 0);
    atomic_store(&pool->quit, 0);
    for (int32_t i = 0; i < pool->threads; i++) atomic_store(&pool->workers[i].done, 0);
    tvmcomp_status status = start_threads(pool);
    if (status) return status;
  }
  pool->checked = 1;
  return TVMCOMP_OK;
}

static void run_threads(tvmcomp_pool *pool, tvmcomp_lambda lambda, void *data) {
  pool->status = check_process(pool);
  if (pool->status) {
    pool->workers[0].result = -1;
    return;
  }
  pool->lambda = lambda;
  pool->data = data;
  pool->env = (tvmcomp_parallel_env){NULL, pool->threads};
  uint32_t before = atomic_load_explicit(&pool->round, memory_order_relaxed);
  next_round(pool);
  pool->workers[0].result = lambda(0, &pool->env, data);
  for (int32_t i = 1; i < pool->threads; i++)
    tvmcomp_spin_while(&pool->workers[i].done, before, -1, pool->crowded);
}
#endif

static void free_workers(tvmcomp_pool *pool) {
  for (int32_t i = 0; i < pool->threads; i++) tvmcomp_free_arrays(&pool->workers[i].arrays);
  free(pool->workers);
}

/* TVM's kernels give 0 for `tasks`, all threads, and ask the environment for the number. */
static int launch(tvmcomp_lambda lambda, void *data, int tasks) {
  (void)tasks;
  tvmcomp_pool *pool = tvmcomp_current ? tvmcomp_current->pool : NULL;
  /* A loop within a loop's task is that task's alone. */
  if (!pool || pool->threads == 1 || pool->launching) return alone(lambda, data);
  pool->launching = 1;
  if (pool->parallel_for) tvmcomp_run_borrowed(pool, lambda, data);
  else run_threads(pool, lambda, data);
  pool->launching = 0;
  return result_of(pool);
}

TVMCOMP_HIDDEN tvmcomp_launch_function __TVMBackendParallelLaunch = launch;

tvmcomp_status tvmcomp_pool_start(tvmcomp_pool *pool, const tvmcomp_options *options) {
#ifdef TVMCOMP_WITHOUT_THREADS
  if (options->num_cores) return TVMCOMP_BAD_ARGUMENT;
#endif
  pool->threads = options->threads ? options->threads : 1;
  pool->parallel_for = options->parallel_for;
  pool->parallel_user = options->parallel_user;
  if ((size_t)pool->threads > SIZE_MAX / sizeof(tvmcomp_worker)) return TVMCOMP_NO_MEMORY;
  size_t bytes = (size_t)pool->threads * sizeof(tvmcomp_worker);
  pool->workers = aligned_alloc(TVMCOMP_APART, bytes);
  if (!pool->workers) return TVMCOMP_NO_MEMORY;
  memset(pool->workers, 0, bytes);
  for (int32_t i = 0; i < pool->threads; i++) {
    pool->workers[i].pool = pool;
    pool->workers[i].index = i;
  }
#ifndef TVMCOMP_WITHOUT_THREADS
  pool->spin_us = options->spin_us;
  pool->cores = options->cores;
  pool->num_cores = options->num_cores;
#endif
  tvmcomp_status status = start_threads(pool);
  if (status) free_workers(pool);
  return status;
}

void tvmcomp_pool_begin(tvmcomp_pool *pool) {
  pool->launching = 0; /* a fork amid another thread's run has copied it */
  pool->status = TVMCOMP_OK;
#ifndef TVMCOMP_WITHOUT_THREADS
  pool->checked = 0;
#endif
}

void tvmcomp_pool_stop(tvmcomp_pool *pool) {
#ifndef TVMCOMP_WITHOUT_THREADS
  if (pool->threads > 1 && !pool->parallel_for && pool->process == getpid())
    join_threads(pool, pool->threads);
#endif
  free_workers(pool);
}
