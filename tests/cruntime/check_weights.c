/* Coded weights: that damaged ones are errors, and that contexts share what they decode to.
 * Usage: check_weights CHECK FILE [SIZE...]; FILE is coded, SIZE the bytes of each constant. */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../cruntime/coded.h"
#include "network.h"

enum { MOST = 64 };

static uint8_t *coded;
static size_t size;
static tvmcomp_tensor tensors[MOST];
static int32_t count;

static void read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  CHECK(file && !fseek(file, 0, SEEK_END));
  size = (size_t)ftell(file);
  rewind(file);
  coded = malloc(size + 1); /* no more, so that a sanitizer sees a read behind it */
  CHECK(coded && fread(coded, 1, size, file) == size);
  fclose(file);
}

static tvmcomp_status decode(const uint8_t *data, size_t bytes, int show) {
  const void *arrays[MOST] = {NULL};
  void *memory;
  tvmcomp_status status = tvmcomp_decode(data, bytes, tensors, count, arrays, &memory);
  if (status) return status;
  for (int32_t i = 0; i < count; i++) {
    CHECK(!((uintptr_t)arrays[i] % 64));
    if (show) fwrite(arrays[i], 1, (size_t)tensors[i].nbytes, stdout);
  }
  free(memory);
  return status;
}

static void shown(void) { CHECK(decode(coded, size, 1) == TVMCOMP_OK); }

static uint32_t random_below(uint32_t limit) {
  static uint64_t state = 1;
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)((state >> 33) % limit);
}

static void seal(uint8_t *data, size_t bytes) {
  uint64_t sums[2] = {0, 0};
  uint32_t word;
  for (size_t i = sizeof sums; i + sizeof word <= bytes; i += sizeof word) {
    memcpy(&word, data + i, sizeof word);
    sums[0] += word;
    sums[1] += sums[0];
  }
  memcpy(data, sums, sizeof sums);
}

/* Without the checksum nothing is damaged unseen; with it, nothing is read or written elsewhere. */
static void damaged(void) {
  int refused = 0;
  for (int round = 0; round < 3000; round++) {
    size_t bytes = round % 8 ? size : (size_t)random_below((uint32_t)size);
    uint8_t *copy = malloc(bytes + 1);
    CHECK(copy);
    memcpy(copy, coded, bytes);
    for (uint32_t i = random_below(4) + 1; bytes && i; i--) {
      /* Half of it at the front, where all that is no stream is. */
      size_t at = random_below((uint32_t)(i % 2 && bytes > 400 ? 400 : bytes));
      copy[at] = (uint8_t)(random_below(2) ? random_below(256) : copy[at] ^ 1u << random_below(8));
    }
    if (bytes == size && memcmp(copy, coded, size))
      CHECK(decode(copy, bytes, 0) == TVMCOMP_DAMAGED_WEIGHTS);
    if (bytes >= 16) seal(copy, bytes);
    refused += decode(copy, bytes, 0) == TVMCOMP_DAMAGED_WEIGHTS;
    free(copy);
  }
  CHECK(refused > 1000);
}

static const void *const none[KERNELS];
static tvmcomp_network bare;
static tvmcomp_weights weights;

static void prepare(void) {
  bare = network;
  bare.weights = NULL;
  weights = (tvmcomp_weights){none, coded, size};
}

static tvmcomp_context *context_of_coded(void) {
  tvmcomp_context *context;
  tvmcomp_options options = {.weights = &weights};
  CHECK(tvmcomp_create(&bare, &options, &context) == TVMCOMP_OK);
  return context;
}

/* Once decoded, they are not again: what is damaged meanwhile is not seen until all are destroyed. */
static void shared(void) {
  tvmcomp_options options = {.weights = &weights};
  tvmcomp_context *first = context_of_coded(), *failed;
  coded[size / 2] ^= 1;
  tvmcomp_context *second = context_of_coded();
  check_run(first, 1);
  tvmcomp_destroy(first);
  check_run(second, 2);
  first = context_of_coded();
  tvmcomp_destroy(second);
  check_run(first, 3);
  tvmcomp_destroy(first);
  CHECK(tvmcomp_create(&bare, &options, &failed) == TVMCOMP_DAMAGED_WEIGHTS && !failed);
  CHECK(strstr(tvmcomp_status_text(TVMCOMP_DAMAGED_WEIGHTS), "damaged"));
  coded[size / 2] ^= 1;
  tvmcomp_destroy(context_of_coded());
}

/* In the network, as an exported program has them; and one that is not coded stays where it is. */
static void embedded(void) {
  const void *some[KERNELS] = {NULL};
  tvmcomp_weights own = {some, coded, size};
  tvmcomp_context *context;
  bare.weights = &weights;
  CHECK(tvmcomp_create(&bare, NULL, &context) == TVMCOMP_OK);
  check_run(context, 5);
  some[0] = constants[0]; /* it is coded as well: not what the network's weights were made to */
  bare.weights = &own;
  tvmcomp_context *other;
  CHECK(tvmcomp_create(&bare, NULL, &other) == TVMCOMP_DAMAGED_WEIGHTS);
  bare.weights = &weights;
  weights.arrays = NULL;
  CHECK(tvmcomp_create(&bare, NULL, &other) == TVMCOMP_BAD_ARGUMENT);
  tvmcomp_destroy(context);
}

static void in_a_child(void) {
  tvmcomp_context *context = context_of_coded();
  pid_t child = fork();
  if (!child) {
    tvmcomp_context *second = context_of_coded();
    check_run(context, 7);
    tvmcomp_destroy(context);
    check_run(second, 8);
    tvmcomp_destroy(second);
    free(coded);
    exit(0);
  }
  int status;
  CHECK(child > 0 && waitpid(child, &status, 0) == child && !status);
  check_run(context, 9);
  tvmcomp_destroy(context);
}

#ifndef TVMCOMP_WITHOUT_THREADS
#include <pthread.h>

static void *come_and_go(void *unused) {
  for (uint32_t i = 0; i < 50; i++) {
    tvmcomp_context *context = context_of_coded();
    check_run(context, i);
    tvmcomp_destroy(context);
  }
  return unused;
}

static void in_threads(void) {
  pthread_t threads[8];
  for (int i = 0; i < 8; i++) CHECK(!pthread_create(&threads[i], NULL, come_and_go, NULL));
  for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
}
#else
static void in_threads(void) {}
#endif

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    void (*check)(void);
  } checks[] = {{"shown", shown},       {"damaged", damaged},       {"shared", shared},
                {"embedded", embedded}, {"in_a_child", in_a_child}, {"in_threads", in_threads}};
  CHECK(argc >= 3);
  read_file(argv[2]);
  for (count = 0; count + 3 < argc && count < MOST; count++)
    tensors[count].nbytes = strtoull(argv[count + 3], NULL, 10);
  prepare();
  for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
    if (!strcmp(argv[1], checks[i].name)) {
      checks[i].check();
      free(coded);
      return 0;
    }
  return 2;
}
