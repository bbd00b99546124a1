/* Where threads run, whether they sleep, and that none is left. Usage: check_cores CHECK */
#define _GNU_SOURCE
#include <dirent.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "network.h"

static int threads_of_process(void) {
  int threads = 0;
  DIR *folder = opendir("/proc/self/task");
  CHECK(folder);
  for (struct dirent *entry; (entry = readdir(folder));) threads += entry->d_name[0] != '.';
  closedir(folder);
  return threads;
}

/* A thread that has been joined may be seen a little longer. */
static void wait_for_threads(int wanted) {
  for (int waited = 0; threads_of_process() != wanted; waited++) {
    CHECK(waited < 60000);
    usleep(1000);
  }
}

/* A sanitizer starts a thread of its own beside the first. */
static int threads_at_rest(void) {
  tvmcomp_destroy(with_threads(2));
  usleep(100000);
  return threads_of_process();
}

/* All threads on one core: a thread that is waited for gets it. */
static void crowded(void) {
  cpu_set_t cores;
  CHECK(!sched_getaffinity(0, sizeof cores, &cores));
  for (int i = 0, left = 1; i < CPU_SETSIZE; i++)
    if (CPU_ISSET(i, &cores) && left-- <= 0) CPU_CLR(i, &cores);
  CHECK(!sched_setaffinity(0, sizeof cores, &cores));
  tvmcomp_context *context = with_threads(4);
  for (uint32_t i = 0; i < 500; i++) check_run(context, i);
  tvmcomp_destroy(context);
}

/* Bound where it is asked for, and nowhere else. */
static int32_t wanted_cores[2];
static int one_each;

static void look_where(int task, int tasks) {
  CHECK(tasks == 2);
  cpu_set_t cores;
  CHECK(!sched_getaffinity(0, sizeof cores, &cores));
  CHECK(CPU_ISSET(wanted_cores[one_each ? task : 0], &cores));
  CHECK(CPU_COUNT(&cores) == 1);
}

static void bound(void) {
  int threads = threads_at_rest();
  cpu_set_t before, after;
  CHECK(!sched_getaffinity(0, sizeof before, &before));
  int32_t last = 0;
  for (int32_t i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET(i, &before)) wanted_cores[0] = last, wanted_cores[1] = last = i;
  if (CPU_COUNT(&before) < 2) wanted_cores[0] = last;
  visit = look_where;
  for (one_each = 0; one_each < 2; one_each++) {
    tvmcomp_options options = {.threads = 2, .cores = wanted_cores, .num_cores = 1 + one_each};
    tvmcomp_context *context;
    CHECK(tvmcomp_create(&network, &options, &context) == TVMCOMP_OK);
    for (uint32_t i = 0; i < 20; i++) check_run(context, i);
    tvmcomp_destroy(context);
    CHECK(!sched_getaffinity(0, sizeof after, &after) && CPU_EQUAL(&before, &after));
  }
  visit = NULL;
  /* A core that there is none of, after one that there is: nothing is left behind. */
  int32_t cores[] = {wanted_cores[0], CPU_SETSIZE - 1};
  tvmcomp_options options = {.threads = 2, .cores = cores, .num_cores = 2};
  tvmcomp_context *context;
  CHECK(tvmcomp_create(&network, &options, &context) == TVMCOMP_BAD_ARGUMENT && !context);
  wait_for_threads(threads);
  CHECK(!sched_getaffinity(0, sizeof after, &after) && CPU_EQUAL(&before, &after));
}

static int sleeping_threads(void) {
  int sleeping = 0;
  DIR *folder = opendir("/proc/self/task");
  CHECK(folder);
  for (struct dirent *entry; (entry = readdir(folder));) {
    char path[300], state = 0;
    snprintf(path, sizeof path, "/proc/self/task/%s/stat", entry->d_name);
    FILE *file = fopen(path, "r");
    if (!file) continue;
    if (fscanf(file, "%*d %*s %c", &state) == 1) sleeping += state == 'S';
    fclose(file);
  }
  closedir(folder);
  return sleeping;
}

/* Threads without work sleep in the end, and wake for the next run. */
static void sleeping(void) {
  for (int32_t spin_us = -1; spin_us < 2; spin_us++) {
    tvmcomp_options options = {.threads = 4, .spin_us = spin_us};
    tvmcomp_context *context;
    CHECK(tvmcomp_create(&network, &options, &context) == TVMCOMP_OK);
    for (uint32_t i = 0; i < 5; i++) {
      for (int waited = 0; sleeping_threads() < 3; waited++) {
        CHECK(waited < 60000);
        usleep(1000);
      }
      check_run(context, i);
    }
    for (uint32_t i = 0; i < 200; i++) check_run(context, i); /* and when about to sleep */
    tvmcomp_destroy(context);
  }
}

static void cycles(void) {
  int threads = threads_at_rest();
  for (uint32_t i = 0; i < 300; i++) {
    tvmcomp_context *context = with_threads(1 + i % 3);
    if (i % 2) check_run(context, i);
    tvmcomp_destroy(context);
  }
  wait_for_threads(threads);
}

static int one_after_another(void *user, tvmcomp_task task, int32_t tasks, void *data) {
  (void)user;
  for (int32_t i = 0; i < tasks; i++)
    if (task(i, tasks, data)) return -1;
  return 0;
}

/* No thread is started where the caller lends some. */
static void lent(void) {
  tvmcomp_options options = {.threads = 4, .parallel_for = one_after_another};
  tvmcomp_context *context;
  int before = threads_of_process(); /* an emulator may have some of its own */
  CHECK(tvmcomp_create(&network, &options, &context) == TVMCOMP_OK);
  check_run(context, 1);
  CHECK(threads_of_process() == before);
  tvmcomp_destroy(context);
}

int main(int argument_count, char **arguments) {
  static const struct {
    const char *name;
    void (*check)(void);
  } checks[] = {{"crowded", crowded}, {"bound", bound}, {"sleeping", sleeping},
                {"cycles", cycles}, {"lent", lent}};
  CHECK(argument_count == 2);
  for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
    if (!strcmp(checks[i].name, arguments[1])) {
      checks[i].check();
      return 0;
    }
  CHECK(!"there is such a check");
}
