/* Contexts in processes that were forked from the one that made them. Usage: check_fork CHECK */
#define _GNU_SOURCE
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "network.h"

static void in_child(void (*body)(tvmcomp_context *), tvmcomp_context *context) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (!child) {
    alarm(60); /* a child that hangs ends */
    body(context);
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void use(tvmcomp_context *context) {
  for (uint32_t i = 0; i < 20; i++) check_run(context, i);
}

static void use_and_destroy(tvmcomp_context *context) {
  use(context);
  tvmcomp_destroy(context);
}

static void grandchild(tvmcomp_context *context) {
  in_child(use_and_destroy, context);
  use(context);
  in_child(use, context);
}

static void *use_in_thread(void *context) {
  use(context);
  return NULL;
}

static void use_in_threads(tvmcomp_context *context) {
  pthread_t ids[4];
  for (int i = 0; i < 4; i++) CHECK(!pthread_create(&ids[i], NULL, use_in_thread, context));
  for (int i = 0; i < 4; i++) CHECK(!pthread_join(ids[i], NULL));
  tvmcomp_destroy(context);
}

static void each(void (*body)(tvmcomp_context *)) {
  for (int threads = 1; threads < 5; threads++) {
    tvmcomp_context *context = with_threads(threads);
    use(context);
    in_child(body, context);
    use(context); /* the child's runs are not the parent's */
    in_child(body, context);
    tvmcomp_destroy(context);
  }
}

/* A thread of the parent is within a run, which the child lacks: the child does not wait for it. */
static _Atomic int within, go_on;

static void wait_there(void *user, int32_t kernel, int32_t before) {
  (void)user;
  if (kernel != 2 || !before) return;
  within = 1;
  while (!go_on) usleep(100);
}

static void *run_once(void *context) {
  check_run(context, 3);
  return NULL;
}

static void use_without_hook(tvmcomp_context *context) {
  CHECK(tvmcomp_set_hook(context, NULL, NULL) == TVMCOMP_OK);
  use_and_destroy(context);
}

static void amid_a_run(void) {
  for (int threads = 1; threads < 4; threads++) {
    tvmcomp_context *context = with_threads(threads);
    CHECK(tvmcomp_set_hook(context, wait_there, NULL) == TVMCOMP_OK);
    within = go_on = 0;
    pthread_t id;
    CHECK(!pthread_create(&id, NULL, run_once, context));
    while (!within) usleep(100);
    in_child(use_without_hook, context);
    go_on = 1;
    CHECK(!pthread_join(id, NULL));
    check_run(context, 4);
    tvmcomp_destroy(context);
  }
}

int main(int count, char **arguments) {
  CHECK(count == 2);
  const char *name = arguments[1];
  if (!strcmp(name, "used")) each(use);
  else if (!strcmp(name, "destroyed")) each(tvmcomp_destroy);
  else if (!strcmp(name, "used_and_destroyed")) each(use_and_destroy);
  else if (!strcmp(name, "grandchild")) each(grandchild);
  else if (!strcmp(name, "in_threads")) each(use_in_threads);
  else if (!strcmp(name, "amid_a_run")) amid_a_run();
  else CHECK(!"there is such a check");
}
