/* Several threads, contexts and processes. Usage: check_threads CHECK */
#include <pthread.h>
#include <string.h>

#include "network.h"

static void at_once(int threads, void *(*body)(void *), void *argument) {
  pthread_t ids[16];
  for (int i = 0; i < threads; i++) CHECK(!pthread_create(&ids[i], NULL, body, argument));
  for (int i = 0; i < threads; i++) CHECK(!pthread_join(ids[i], NULL));
}

static _Atomic int seen[16]; /* how often each task ran */

static void count(int task, int tasks) {
  CHECK(task >= 0 && task < tasks && tasks < 16);
  atomic_fetch_add(&seen[task], 1);
}

static void counts(void) {
  for (int threads = 1; threads < 8; threads++) {
    memset((void *)seen, 0, sizeof seen);
    visit = count;
    tvmcomp_context *context = with_threads(threads);
    for (uint32_t i = 0; i < 60; i++) check_run(context, i);
    tvmcomp_destroy(context);
    /* Every other kernel is shared. */
    for (int i = 0; i < 16; i++) CHECK(seen[i] == (i < threads ? 60 * KERNELS / 2 : 0));
  }
}

static void failing(void) {
  tvmcomp_context *context = with_threads(4);
  uint32_t x[LENGTH] = {0}, y[LENGTH];
  failing_kernel = 2;
  for (failing_task = 0; failing_task < 4; failing_task++)
    CHECK(tvmcomp_run(context, (const void *[]){x}, (void *[]){y}) == TVMCOMP_KERNEL_FAILED);
  failing_kernel = -1;
  array_bytes = (uint64_t)1 << 60;
  CHECK(tvmcomp_run(context, (const void *[]){x}, (void *[]){y}) == TVMCOMP_NO_MEMORY);
  array_bytes = 4 * LENGTH;
  for (uint32_t i = 0; i < 20; i++) check_run(context, i);
  tvmcomp_destroy(context);
}

/* The loops of a task of a loop are that task's alone. */
typedef int (*lambda)(int task, void *env, void *data);
extern int (*__TVMBackendParallelLaunch)(lambda, void *, int);
static _Atomic int inner;

static int inner_part(int task, void *env, void *data) {
  (void)env, (void)data;
  CHECK(task == 0);
  inner++;
  return 0;
}

static void launch_again(int task, int tasks) {
  (void)task, (void)tasks;
  CHECK(!__TVMBackendParallelLaunch(inner_part, NULL, 0));
}

static void nested(void) {
  visit = launch_again;
  tvmcomp_context *context = with_threads(3);
  for (uint32_t i = 0; i < 20; i++) check_run(context, i);
  CHECK(inner == 20 * 3 * KERNELS / 2);
  tvmcomp_destroy(context);
}

static void *use_own(void *unused) {
  (void)unused;
  tvmcomp_context *context = with_threads(2);
  for (uint32_t i = 0; i < 150; i++) check_run(context, i);
  tvmcomp_destroy(context);
  return NULL;
}

static void eight_contexts(void) { at_once(8, use_own, NULL); }

static void *use(void *context) {
  for (uint32_t i = 0; i < 100; i++) check_run(context, i);
  return NULL;
}

static void eight_share(void) {
  for (int threads = 1; threads < 4; threads += 2) {
    tvmcomp_context *context = with_threads(threads);
    at_once(8, use, context);
    tvmcomp_destroy(context);
  }
}

static void *create(void *context) {
  *(tvmcomp_context **)context = with_threads(2);
  return NULL;
}

static void *destroy(void *context) {
  tvmcomp_destroy(context);
  return NULL;
}

static void thread_after_thread(void) {
  tvmcomp_context *context;
  at_once(1, create, &context);
  at_once(1, use, context);
  at_once(1, use, context);
  at_once(1, destroy, context);
}

/* A context for each of two networks' runs in one thread, in turns. */
static void in_turns(void) {
  tvmcomp_context *one = with_threads(2), *other = with_threads(3);
  for (uint32_t i = 0; i < 100; i++) check_run(i % 2 ? one : other, i);
  tvmcomp_destroy(other);
  check_run(one, 1);
  tvmcomp_destroy(one);
}

typedef struct {
  tvmcomp_task task;
  int32_t index, tasks;
  void *data;
  int result;
} job;

static void *do_job(void *argument) {
  job *j = argument;
  j->result = j->task(j->index, j->tasks, j->data);
  return NULL;
}

static int in_new_threads(void *user, tvmcomp_task task, int32_t tasks, void *data) {
  pthread_t ids[16];
  job jobs[16];
  int failed = 0;
  ++*(int *)user;
  for (int32_t i = 0; i < tasks; i++) {
    jobs[i] = (job){task, i, tasks, data, 0};
    CHECK(!pthread_create(&ids[i], NULL, do_job, &jobs[i]));
  }
  for (int32_t i = 0; i < tasks; i++) {
    CHECK(!pthread_join(ids[i], NULL));
    failed |= jobs[i].result;
  }
  return failed;
}

static void borrowed(void) {
  int loops = 0;
  tvmcomp_options options = {.threads = 4, .parallel_for = in_new_threads, .parallel_user = &loops};
  tvmcomp_context *context;
  CHECK(tvmcomp_create(&network, &options, &context) == TVMCOMP_OK);
  for (uint32_t i = 0; i < 30; i++) check_run(context, i);
  CHECK(loops == 30 * KERNELS / 2);
  tvmcomp_destroy(context);
}

int main(int argument_count, char **arguments) {
  static const struct {
    const char *name;
    void (*check)(void);
  } checks[] = {{"counts", counts},           {"failing", failing},
                {"nested", nested},           {"eight_contexts", eight_contexts},
                {"eight_share", eight_share}, {"thread_after_thread", thread_after_thread},
                {"in_turns", in_turns},       {"borrowed", borrowed}};
  CHECK(argument_count == 2);
  for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
    if (!strcmp(checks[i].name, arguments[1])) {
      checks[i].check();
      return 0;
    }
  CHECK(!"there is such a check");
}
