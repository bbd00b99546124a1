/* Which digit is in an image? Runs the example's network with memory of the program's own. */
#include "digits_net.h"

#include <stdio.h>
#include <stdlib.h>

static float image[DIGITS_NET_INPUT0_ELEMENTS];
static float logits[DIGITS_NET_OUTPUT0_ELEMENTS];

static int fail(const char *what) {
  fprintf(stderr, "digits: %s\n", what);
  return 2;
}

int main(int argc, char **argv) {
  if (argc != 2) return fail("give a file of 28 x 28 values of float32");
  FILE *file = fopen(argv[1], "rb");
  if (!file || fread(image, sizeof image, 1, file) != 1) return fail("can't read the image");
  fclose(file);

  tvmcomp_options options = {.threads = 1};
  options.workspace = aligned_alloc(64, (digits_net_info()->workspace + 63) / 64 * 64);
  if (!options.workspace) return fail("no memory");

  tvmcomp_context *context;
  tvmcomp_status status = digits_net_create(&options, &context);
  if (status) return fail(digits_net_status_text(status));

  const void *inputs[] = {image};
  void *outputs[] = {logits};
  status = digits_net_run(context, inputs, outputs);
  if (status) return fail(digits_net_status_text(status));

  int best = 0;
  for (int i = 1; i < DIGITS_NET_OUTPUT0_ELEMENTS; i++)
    if (logits[i] > logits[best]) best = i;
  printf("%d\n", best);

  digits_net_destroy(context);
  free(options.workspace);
  return 0;
}
