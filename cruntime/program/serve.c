/* Runs on a stream, for a host at the other end of a connection. A request is a line on standard input,
 * and what it carries:
 *
 *   inputs        and the bytes of all inputs, one after the other
 *   run           answered by the bytes of all outputs
 *   time RUNS     by a double for each run: seconds
 *   profile       by a tvmcomp_call for each call of a kernel in one run
 *   kernels       by the names that these calls count, each with its zero
 *   memory        by 8 bytes: the largest memory of the process so far, in bytes
 *
 * An answer is a line "ok SIZE" and so many bytes, or a line "error TEXT". The first "ok 0" is before any
 * request: the context is made. The end of the input ends the program. */
#include "program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Requests are short. */
enum { LONGEST = 64 };

typedef struct {
  tvmcomp_context *context;
  void **inputs, **outputs;
  tvmcomp_call *calls; /* room for those of one run */
  int64_t capacity;
} server;

static void begin(uint64_t size) { printf("ok %llu\n", (unsigned long long)size); }

static void answer(const void *data, size_t size) {
  begin(size);
  if (size) fwrite(data, 1, size, stdout);
}

static uint64_t size_of(const tvmcomp_tensor *tensors, int32_t count) {
  uint64_t size = 0;
  for (int32_t i = 0; i < count; i++) size += tensors[i].nbytes;
  return size;
}

/* Whether all of them came. */
static int take_inputs(const server *of) {
  const tvmcomp_network *network = tvmcomp_this_program.info();
  for (int32_t i = 0; i < network->num_inputs; i++) {
    size_t size = (size_t)network->inputs[i].nbytes;
    if (fread(of->inputs[i], 1, size, stdin) != size) return 0;
  }
  answer(NULL, 0);
  return 1;
}

static tvmcomp_status run(const server *of) {
  const tvmcomp_network *network = tvmcomp_this_program.info();
  tvmcomp_status status =
      tvmcomp_this_program.run(of->context, (const void *const *)of->inputs, of->outputs);
  if (status) return status;
  begin(size_of(network->outputs, network->num_outputs));
  for (int32_t i = 0; i < network->num_outputs; i++)
    fwrite(of->outputs[i], 1, (size_t)network->outputs[i].nbytes, stdout);
  return TVMCOMP_OK;
}

static tvmcomp_status time_runs(const server *of, int32_t runs) {
  double *seconds = malloc((size_t)runs * sizeof *seconds);
  if (!seconds) return TVMCOMP_NO_MEMORY;
  tvmcomp_status status = tvmcomp_this_program.time(
      of->context, (const void *const *)of->inputs, of->outputs, runs, seconds);
  if (!status) answer(seconds, (size_t)runs * sizeof *seconds);
  free(seconds);
  return status;
}

static tvmcomp_status profile(server *of) {
  int64_t count = 0;
  for (;;) {
    tvmcomp_status status =
        tvmcomp_this_program.profile(of->context, (const void *const *)of->inputs, of->outputs,
                                     of->calls, of->capacity, &count);
    if (status) return status;
    if (count <= of->capacity) break;
    free(of->calls);
    of->capacity = 0;
    of->calls = malloc((size_t)count * sizeof *of->calls);
    if (!of->calls) return TVMCOMP_NO_MEMORY;
    of->capacity = count;
  }
  answer(of->calls, (size_t)count * sizeof *of->calls);
  return TVMCOMP_OK;
}

static void tell_kernels(void) {
  const tvmcomp_network *network = tvmcomp_this_program.info();
  uint64_t size = 0;
  for (int32_t i = 0; i < network->num_kernels; i++) size += strlen(network->kernels[i]) + 1;
  begin(size);
  for (int32_t i = 0; i < network->num_kernels; i++)
    fwrite(network->kernels[i], 1, strlen(network->kernels[i]) + 1, stdout);
}

/* Answers a request, or gives the reason that there is no answer; *over: no other can follow. */
static const char *perform(server *of, const char *request, int *over) {
  tvmcomp_status status = TVMCOMP_OK;
  if (!strcmp(request, "inputs")) {
    *over = !take_inputs(of);
  } else if (!strcmp(request, "run")) {
    status = run(of);
  } else if (!strncmp(request, "time ", 5)) {
    int32_t runs = tvmcomp_number(request + 5, 1);
    if (runs < 0) return "not a number of runs";
    status = time_runs(of, runs);
  } else if (!strcmp(request, "profile")) {
    status = profile(of);
  } else if (!strcmp(request, "kernels")) {
    tell_kernels();
  } else if (!strcmp(request, "memory")) {
    uint64_t bytes = (uint64_t)tvmcomp_peak_kib() * 1024;
    answer(&bytes, sizeof bytes);
  } else {
    *over = 1;
    return "not a request";
  }
  return status ? tvmcomp_this_program.status_text(status) : NULL;
}

int tvmcomp_serve(tvmcomp_context *context, void **inputs, void **outputs) {
  server of = {context, inputs, outputs, NULL, 0};
  char request[LONGEST];
  int over = 0;
  answer(NULL, 0);
  while (!over && !fflush(stdout) && fgets(request, sizeof request, stdin)) {
    request[strcspn(request, "\n")] = 0;
    const char *complaint = perform(&of, request, &over);
    if (complaint) printf("error %s\n", complaint);
  }
  free(of.calls);
  return over || ferror(stdout);
}
