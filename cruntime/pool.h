/* The threads of one context. */
#ifndef TVMCOMP_POOL_H
#define TVMCOMP_POOL_H

#include "include/tvmcomp.h"
#include "workspace.h"

#ifdef TVMCOMP_WITHOUT_THREADS
#define TVMCOMP_THREAD_LOCAL
#else
#include <pthread.h>
#include <stdatomic.h>
#define TVMCOMP_THREAD_LOCAL _Thread_local
#endif

/* What two threads write lies this far apart: a cache line, and the one that is fetched with it. */
#define TVMCOMP_APART 128

typedef struct tvmcomp_pool tvmcomp_pool;

/* What a thread has while it works on a task of a kernel. The calling thread's is the first. */
typedef struct tvmcomp_worker {
  _Alignas(TVMCOMP_APART) tvmcomp_pool *pool;
  struct tvmcomp_worker *outer; /* of the run that the calling thread was in already */
  tvmcomp_arrays arrays;
  int32_t index;
  int result; /* of the last task */
#ifndef TVMCOMP_WITHOUT_THREADS
  pthread_t thread;
  _Alignas(TVMCOMP_APART) _Atomic uint32_t done; /* the last round that it is through with */
#endif
} tvmcomp_worker;

struct tvmcomp_pool {
  int32_t threads;   /* how many tasks a kernel is divided into */
  int32_t launching; /* a parallel loop is under way */
  tvmcomp_status status; /* why the pool failed a loop, or TVMCOMP_OK */
  tvmcomp_worker *workers;
  tvmcomp_parallel_for parallel_for; /* the caller's, or NULL */
  void *parallel_user;
#ifndef TVMCOMP_WITHOUT_THREADS
  int64_t process; /* that the threads run in */
  int32_t checked; /* that it is this one, in this run */
  int32_t crowded; /* more threads than cores to run them on */
  int32_t spin_us; /* as the options have it */
  int64_t spin_ns; /* how long that is */
  const int32_t *cores; /* the context's copy */
  int32_t num_cores;
  /* The loop of this round; written before `round`, read after it. */
  tvmcomp_lambda lambda;
  void *data;
  tvmcomp_parallel_env env;
  _Alignas(TVMCOMP_APART) _Atomic uint32_t round; /* counts the loops; each worker does each once */
  _Alignas(TVMCOMP_APART) _Atomic int32_t sleepers;
  _Atomic int32_t quit;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
#endif
};

/* What the calling thread works on, NULL outside a network. */
extern TVMCOMP_HIDDEN TVMCOMP_THREAD_LOCAL tvmcomp_worker *tvmcomp_current;

/* Starts the threads that the options ask for; they wait for tvmcomp_pool_stop. `pool` is all zero. */
TVMCOMP_HIDDEN tvmcomp_status tvmcomp_pool_start(tvmcomp_pool *pool, const tvmcomp_options *options);
/* Comes before each run: after a fork the first loop of a run starts the threads anew. */
TVMCOMP_HIDDEN void tvmcomp_pool_begin(tvmcomp_pool *pool);
/* Ends the threads, if they are this process's, and frees what the pool owns. */
TVMCOMP_HIDDEN void tvmcomp_pool_stop(tvmcomp_pool *pool);
/* Lets the caller's parallel_for run a loop; each worker's `result` says how its task ended. */
TVMCOMP_HIDDEN void tvmcomp_run_borrowed(tvmcomp_pool *pool, tvmcomp_lambda lambda, void *data);

#endif
