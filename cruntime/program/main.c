/* The program's command line. It exits with 0, with 1 where a check failed or a kernel did, and with
 * 2 where the command line, a file or the machine will not do. */
#include "program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FINE, FAILED, UNUSABLE };
typedef enum { RUN, SELFTEST, BENCH, SERVE, INFO } command;

static const tvmcomp_program *const program = &tvmcomp_this_program;

static int usage(const char *name) {
  const tvmcomp_network *network = program->info();
  fprintf(stderr,
          "%s: a network compiled by tvmcomp; %d inputs, %d outputs\n"
          "  %s --selftest [--threads N] [--json]      on its reference inputs, and compares\n"
          "  %s --bench RUNS [--threads N] [--profile] [--json] [INPUT...]\n"
          "  %s [--threads N] INPUT... OUTPUT...       files of the values, as they lie in memory\n"
          "  %s --serve [--threads N]                  answers requests on a stream (serve.c)\n"
          "  %s --info                                 inputs, outputs and memory, as JSON\n"
          "--cores A,B,... binds the threads to cores; --shape I takes the I-th of several shapes, from 0\n",
          network->name, (int)network->num_inputs, (int)network->num_outputs, name, name, name,
          name, name);
  return UNUSABLE;
}

int32_t tvmcomp_number(const char *text, int32_t least) {
  char *end;
  errno = 0;
  long value = text ? strtol(text, &end, 10) : -1;
  if (!text || errno || *end || end == text || value < least || value > 1000000000) return -1;
  return (int32_t)value;
}

/* Reads "0,2,5"; -1 where it is no such list. */
static int32_t read_cores(char *text, int32_t *cores) {
  int32_t count = 0;
  for (char *next = text; next; count++) {
    char *core = next;
    next = strchr(core, ',');
    if (next) *next++ = 0;
    if (count == TVMCOMP_MOST_CORES || (cores[count] = tvmcomp_number(core, 0)) < 0) return -1;
  }
  return text ? count : -1;
}

/* Takes the shape of this number; -1 where there is none. */
static int32_t choose_shape(const char *text) {
  int32_t shape = tvmcomp_number(text, 0);
  if (!program->choose) return shape ? -1 : 0;
  return shape < 0 || program->choose(shape) ? -1 : shape;
}

static int told(const char *what, const char *where) {
  fprintf(stderr, "error: %s: %s\n", where, what);
  return UNUSABLE;
}

static int read_file(const char *path, void *to, size_t size) {
  FILE *file = fopen(path, "rb");
  if (!file) return told(strerror(errno), path);
  size_t found = fread(to, 1, size, file);
  int more = fgetc(file) != EOF;
  fclose(file);
  if (found == size && !more) return FINE;
  fprintf(stderr, "error: %s: holds %s than the %zu bytes of its input\n", path,
          more ? "more" : "less", size);
  return UNUSABLE;
}

static int write_file(const char *path, const void *from, size_t size) {
  FILE *file = fopen(path, "wb");
  if (!file) return told(strerror(errno), path);
  int written = fwrite(from, 1, size, file) == size;
  if (fclose(file) || !written) return told("can't be written", path);
  return FINE;
}

/* Memory for each tensor, zeroed and aligned as kernels want it, in one array of pointers; NULL
 * without memory. */
static void **buffers(const tvmcomp_tensor *tensors, int32_t count) {
  void **made = calloc((size_t)count + 1, sizeof *made);
  for (int32_t i = 0; made && i < count; i++) {
    size_t size = ((size_t)tensors[i].nbytes / 64 + 1) * 64;
    made[i] = aligned_alloc(64, size);
    if (!made[i]) return NULL; /* the program ends */
    memset(made[i], 0, size);
  }
  return made;
}

static int selftest(void *const *outputs, int json) {
  const tvmcomp_network *network = program->info();
  int result = FINE;
  if (json) printf("{\"outputs\": [");
  for (int32_t i = 0; i < network->num_outputs; i++) {
    const tvmcomp_tensor *tensor = &network->outputs[i];
    tvmcomp_agreement found =
        tvmcomp_compare(tensor, outputs[i], program->outputs[i], program->tolerance);
    int agrees = found.within >= program->within;
    if (!agrees) result = FAILED;
    if (json) {
      printf("%s{\"output\": ", i ? ", " : "");
      tvmcomp_print_text(tensor->name);
      printf(", \"max_difference\": ");
      /* JSON has no infinity. */
      if (found.largest <= 1e300) printf("%.9g", found.largest);
      else printf("null");
      printf(", \"within\": %.9g, \"tolerance\": %g, \"agrees\": %s}", found.within,
             program->tolerance, agrees ? "true" : "false");
    } else {
      printf("%s: %s with the reference output: largest difference %.2g of its range, %.2f%% of "
             "elements within %g\n",
             tensor->name, agrees ? "agrees" : "DIFFERS", found.largest, 100 * found.within,
             program->tolerance);
    }
  }
  if (json) printf("], \"agrees\": %s}\n", result == FINE ? "true" : "false");
  return result;
}

static int info(void) {
  const tvmcomp_network *network = program->info();
  uint64_t constants = 0;
  for (int32_t i = 0; i < network->num_constants; i++) constants += network->constants[i].nbytes;
  printf("{\"network\": ");
  tvmcomp_print_text(network->name);
  printf(", \"features\": ");
  tvmcomp_print_text(network->features);
  printf(", \"kernels\": %d, \"workspace_bytes\": %llu, \"constants_bytes\": %llu, ",
         (int)network->num_kernels, (unsigned long long)network->workspace,
         (unsigned long long)constants);
  tvmcomp_print_tensors("inputs", network->inputs, network->num_inputs);
  printf(", ");
  tvmcomp_print_tensors("outputs", network->outputs, network->num_outputs);
  printf(", \"reference\": %s}\n", program->inputs ? "true" : "false");
  return FINE;
}

static int explain(tvmcomp_status status) {
  const char *lacking = status == TVMCOMP_MISSING_FEATURE ? program->missing_feature() : NULL;
  fprintf(stderr, "error: %s%s%s\n", program->status_text(status), lacking ? ": " : "",
          lacking ? lacking : "");
  return status == TVMCOMP_KERNEL_FAILED ? FAILED : UNUSABLE;
}

/* Does what the command line asks, with `files` of it left. */
static int perform(command what, const tvmcomp_arguments *arguments, char **files, int32_t count) {
  const tvmcomp_network *network = program->info();
  void **inputs = buffers(network->inputs, network->num_inputs);
  void **outputs = buffers(network->outputs, network->num_outputs);
  if (!inputs || !outputs) return explain(TVMCOMP_NO_MEMORY);
  const void *const *given = (const void *const *)inputs;
  if (count) {
    for (int32_t i = 0; i < network->num_inputs; i++)
      if (read_file(files[i], inputs[i], (size_t)network->inputs[i].nbytes)) return UNUSABLE;
  } else if (program->inputs && !arguments->shape) {
    given = program->inputs;
  }
  tvmcomp_options options = {
      .threads = arguments->threads, .cores = arguments->cores, .num_cores = arguments->num_cores};
  tvmcomp_context *context = NULL;
  double start = tvmcomp_now();
  tvmcomp_status status = program->create(&options, &context);
  double created = tvmcomp_now() - start;
  int result = FINE;
  if (!status && what == SERVE) result = tvmcomp_serve(context, inputs, outputs) ? UNUSABLE : FINE;
  else if (!status && what == BENCH)
    status = tvmcomp_bench(context, given, outputs, arguments, created);
  else if (!status) status = program->run(context, given, outputs);
  program->destroy(context);
  if (status) return explain(status);
  if (what == SELFTEST) result = selftest(outputs, arguments->json);
  for (int32_t i = 0; what == RUN && i < network->num_outputs && result == FINE; i++)
    result = write_file(files[network->num_inputs + i], outputs[i], (size_t)network->outputs[i].nbytes);
  for (int32_t i = 0; i < network->num_inputs; i++) free(inputs[i]);
  for (int32_t i = 0; i < network->num_outputs; i++) free(outputs[i]);
  free(inputs);
  free(outputs);
  return result;
}

int main(int argc, char **argv) {
  tvmcomp_arguments arguments = {.threads = 1};
  command what = RUN;
  int at = 1;
  for (; at < argc && !strncmp(argv[at], "--", 2); at++) {
    if (!strcmp(argv[at], "--selftest")) what = SELFTEST;
    else if (!strcmp(argv[at], "--info")) what = INFO;
    else if (!strcmp(argv[at], "--serve")) what = SERVE;
    else if (!strcmp(argv[at], "--json")) arguments.json = 1;
    else if (!strcmp(argv[at], "--profile")) arguments.profile = 1;
    else if (!strcmp(argv[at], "--threads")) arguments.threads = tvmcomp_number(argv[++at], 1);
    else if (!strcmp(argv[at], "--bench")) what = BENCH, arguments.runs = tvmcomp_number(argv[++at], 1);
    else if (!strcmp(argv[at], "--shape")) arguments.shape = choose_shape(argv[++at]);
    else if (!strcmp(argv[at], "--cores"))
      arguments.num_cores = read_cores(argv[++at], arguments.cores);
    else return usage(argv[0]);
    if (arguments.threads < 0 || arguments.runs < 0 || arguments.num_cores < 0 || arguments.shape < 0)
      return usage(argv[0]);
  }
  const tvmcomp_network *network = program->info();
  int32_t files = argc - at;
  int fits = what == RUN ? files == network->num_inputs + network->num_outputs
                         : !files || (what == BENCH && files == network->num_inputs);
  if (!fits) return usage(argv[0]);
  if (what == SELFTEST && (!program->inputs || arguments.shape))
    return told("holds no reference inputs", network->name);
  int result = what == INFO ? info() : perform(what, &arguments, argv + at, files);
  /* musl forgets at fflush what failed at the first line. */
  if (fflush(stdout) || ferror(stdout)) return told("can't be written", "standard output");
  return result;
}
