/* CPU features by LLVM's names, as tvmcomp/targets/features.py has them. */
#define _GNU_SOURCE
#include "cpu_features.h"

#include <stddef.h>
#include <string.h>

/* A feature, and where the CPU or the system says that it is there: `bit` of the word `word`. */
typedef struct {
  const char *name;
  int word, bit;
} feature;

#if defined(__x86_64__)
#include <cpuid.h>

/* A word is one register of one leaf of CPUID (Intel's manual, volume 2A). */
enum { LEAF1_ECX, LEAF7_EBX, LEAF7_ECX, LEAF7_EDX, LEAF7_1_EAX, EXTENDED_ECX, WORDS };

/* What the system must save at a switch of threads, as bits of XCR0: without, the first such
 * instruction is illegal, whatever CPUID says. */
#define AVX_STATE 0x6u
#define AVX512_STATE 0xe6u
#define AMX_STATE 0x60000u

static const feature known[] = {
    {"cx16", LEAF1_ECX, 13},
    {"popcnt", LEAF1_ECX, 23},
    {"sse3", LEAF1_ECX, 0},
    {"ssse3", LEAF1_ECX, 9},
    {"sse4.1", LEAF1_ECX, 19},
    {"sse4.2", LEAF1_ECX, 20},
    {"avx", LEAF1_ECX, 28},
    {"f16c", LEAF1_ECX, 29},
    {"fma", LEAF1_ECX, 12},
    {"movbe", LEAF1_ECX, 22},
    {"avx2", LEAF7_EBX, 5},
    {"bmi", LEAF7_EBX, 3},
    {"bmi2", LEAF7_EBX, 8},
    {"lzcnt", EXTENDED_ECX, 5},
    {"avxvnni", LEAF7_1_EAX, 4},
    {"avx512f", LEAF7_EBX, 16},
    {"avx512bw", LEAF7_EBX, 30},
    {"avx512cd", LEAF7_EBX, 28},
    {"avx512dq", LEAF7_EBX, 17},
    {"avx512vl", LEAF7_EBX, 31},
    {"avx512ifma", LEAF7_EBX, 21},
    {"avx512vnni", LEAF7_ECX, 11},
    {"avx512vbmi", LEAF7_ECX, 1},
    {"avx512vbmi2", LEAF7_ECX, 6},
    {"avx512bitalg", LEAF7_ECX, 12},
    {"avx512vpopcntdq", LEAF7_ECX, 14},
    {"avx512bf16", LEAF7_1_EAX, 5},
    {"avx512fp16", LEAF7_EDX, 23},
    {"gfni", LEAF7_ECX, 8},
    {"amx-tile", LEAF7_EDX, 24},
    {"amx-int8", LEAF7_EDX, 25},
    {"amx-bf16", LEAF7_EDX, 22},
};

static uint32_t word_of(int word) {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  switch (word) {
    case LEAF1_ECX: return __get_cpuid(1, &a, &b, &c, &d) ? c : 0;
    case EXTENDED_ECX: return __get_cpuid(0x80000001u, &a, &b, &c, &d) ? c : 0;
    case LEAF7_1_EAX: return __get_cpuid_count(7, 1, &a, &b, &c, &d) ? a : 0;
    default: break;
  }
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  return word == LEAF7_EBX ? b : word == LEAF7_ECX ? c : d;
}

/* What the system saves, or 0 where it has not said that it saves anything. */
static uint32_t saved_state(void) {
  if (!(word_of(LEAF1_ECX) >> 27 & 1)) return 0; /* OSXSAVE */
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

static int starts_with(const char *name, const char *start) {
  return !strncmp(name, start, strlen(start));
}

static uint32_t state_of(const char *name) {
  if (starts_with(name, "amx")) return AMX_STATE;
  if (starts_with(name, "avx512")) return AVX512_STATE;
  if (starts_with(name, "avx") || !strcmp(name, "fma") || !strcmp(name, "f16c")) return AVX_STATE;
  return 0;
}

static int is_there(const feature *row) {
  uint32_t state = state_of(row->name);
  return (word_of(row->word) >> row->bit & 1) && (saved_state() & state) == state;
}
#elif defined(__linux__) && (defined(__aarch64__) || defined(__arm__) || defined(__riscv))
#include <sys/auxv.h>

/* Bits of the auxiliary vector (the kernel's asm/hwcap.h), which user-mode emulators fill in too. */
static const feature known[] = {
#if defined(__aarch64__)
    {"neon", AT_HWCAP, 1},      {"lse", AT_HWCAP, 8},       {"fullfp16", AT_HWCAP, 10},
    {"rdm", AT_HWCAP, 12},      {"jsconv", AT_HWCAP, 13},   {"complxnum", AT_HWCAP, 14},
    {"rcpc", AT_HWCAP, 15},     {"dotprod", AT_HWCAP, 20},  {"sve", AT_HWCAP, 22},
    {"fp16fml", AT_HWCAP, 23},  {"sve2", AT_HWCAP2, 1},     {"i8mm", AT_HWCAP2, 13},
    {"bf16", AT_HWCAP2, 14},
#elif defined(__arm__)
    {"neon", AT_HWCAP, 12},     {"vfp3", AT_HWCAP, 13},     {"vfp4", AT_HWCAP, 16},
    {"hwdiv-arm", AT_HWCAP, 17},
#else
    {"m", AT_HWCAP, 'm' - 'a'}, {"a", AT_HWCAP, 'a' - 'a'}, {"c", AT_HWCAP, 'c' - 'a'},
    {"f", AT_HWCAP, 'f' - 'a'}, {"d", AT_HWCAP, 'd' - 'a'}, {"v", AT_HWCAP, 'v' - 'a'},
#endif
};

static int is_there(const feature *row) {
  return (int)(getauxval((unsigned long)row->word) >> row->bit & 1);
}
#else
static const feature known[] = {{"", 0, 0}}; /* nothing is known of this architecture */

static int is_there(const feature *row) {
  (void)row;
  return 1;
}
#endif

/* Whether the comma separated `list` names what is `length` characters long. */
static const feature *row_of(const char *name, size_t length) {
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strlen(known[i].name) == length && !strncmp(known[i].name, name, length)) return &known[i];
  return NULL;
}

const char *tvmcomp_lacking(const char *features) {
  while (*features) {
    size_t length = strcspn(features, ",");
    const feature *row = row_of(features, length);
    if (row && !is_there(row)) return row->name;
    features += length;
    features += *features == ',';
  }
  return NULL;
}

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

/* From the kernel's asm/prctl.h and asm/fpu/types.h. Leave is given to the process, once for all of
 * its threads, those that run already too. */
#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18

int tvmcomp_ask_leave(const char *features) {
  if (!strstr(features, "amx-")) return 0;
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) ? -1 : 0;
}
#else
int tvmcomp_ask_leave(const char *features) {
  (void)features;
  return 0;
}
#endif
