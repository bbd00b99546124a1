/* AMX on any x86-64 machine: each tile instruction that the CPU refuses (SIGILL) is decoded from the
 * machine code and done here, after the pseudo-code of Intel's SDM, with the checks it asks for.
 * The code under test is the product's own, instruction for instruction. Tests only.
 *
 * A fault (an unconfigured tile, shapes that don't fit, a load outside a watched array) is kept in
 * amx_fault() for the test to read; the instruction is then skipped. */
#define _GNU_SOURCE
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

enum { TILES = 8, ROWS = 16, ROW_BYTES = 64, WATCHED = 64 };

typedef struct {
  uint8_t palette;
  uint16_t colsb[TILES];
  uint8_t rows[TILES];
  uint8_t data[TILES][ROWS][ROW_BYTES];
} State;

static _Thread_local State state;
static struct sigaction previous;
static char fault[256];
static atomic_llong counts[5]; /* ldtilecfg, tileloadd, tilestored, tdp*, tilerelease */
static struct {
  uint64_t begin, end;
} watched[WATCHED];
static int watches;

static void report(const char *what, long long a, long long b) {
  if (!fault[0]) snprintf(fault, sizeof fault, "%s (%lld, %lld)", what, a, b);
}

const char *amx_fault(void) { return fault; }
long long amx_count(int which) { return atomic_load(&counts[which]); }

void amx_reset(void) {
  fault[0] = 0;
  watches = 0;
  for (int i = 0; i < 5; ++i) atomic_store(&counts[i], 0);
}

/* From now on a row that begins in or near [begin, begin + size) has to lie in it. */
void amx_watch(uint64_t begin, uint64_t size) {
  if (watches < WATCHED) {
    watched[watches].begin = begin;
    watched[watches++].end = begin + size;
  } else {
    report("too many watched arrays", watches, 0);
  }
}

static int outside(uint64_t at, uint64_t size) {
  int near_one = 0;
  for (int i = 0; i < watches; ++i) {
    if (at >= watched[i].begin && at + size <= watched[i].end) return 0;
    near_one |= at + size > watched[i].begin - 64 && at < watched[i].end + 64;
  }
  return near_one;
}

static int usable(int tile) {
  if (!state.palette) return report("TILES_CONFIGURED is 0", tile, 0), 0;
  if (!state.rows[tile]) return report("the tile is not configured", tile, 0), 0;
  return 1;
}

static void ldtilecfg(const uint8_t *memory) {
  atomic_fetch_add(&counts[0], 1);
  State next;
  memset(&next, 0, sizeof next);
  next.palette = memory[0];
  if (next.palette > 1) return report("palette", memory[0], 0);
  if (memory[1]) return report("start_row", memory[1], 0);
  for (int i = 2; i < 16; ++i)
    if (memory[i]) return report("reserved byte of the configuration", i, memory[i]);
  for (int i = 32; i < 64; ++i)
    if (memory[i] && (i < 48 || i >= 56)) return report("reserved byte", i, memory[i]);
  for (int t = 0; t < TILES; ++t) {
    memcpy(&next.colsb[t], memory + 16 + 2 * t, 2);
    next.rows[t] = memory[48 + t];
    if (next.colsb[t] > ROW_BYTES || next.rows[t] > ROWS)
      return report("tile too large", next.rows[t], next.colsb[t]);
    if (!next.colsb[t] != !next.rows[t])
      return report("rows and colsb, one of them 0", next.rows[t], next.colsb[t]);
  }
  state = next;
}

static void tileload(int tile, uint64_t base, int64_t stride) {
  atomic_fetch_add(&counts[1], 1);
  if (!usable(tile)) return;
  memset(state.data[tile], 0, sizeof state.data[tile]);
  for (int row = 0; row < state.rows[tile]; ++row) {
    uint64_t at = base + (uint64_t)(row * stride);
    if (outside(at, state.colsb[tile])) return report("load outside an array; row, tile", row, tile);
    memcpy(state.data[tile][row], (void *)at, state.colsb[tile]);
  }
}

static void tilestore(int tile, uint64_t base, int64_t stride) {
  atomic_fetch_add(&counts[2], 1);
  if (!usable(tile)) return;
  for (int row = 0; row < state.rows[tile]; ++row) {
    uint64_t at = base + (uint64_t)(row * stride);
    if (outside(at, state.colsb[tile])) return report("store outside an array", row, tile);
    memcpy((void *)at, state.data[tile][row], state.colsb[tile]);
  }
}

/* C[m x n] += A[m x k] * B[k x n]: the shapes that the SDM asks of every TDP instruction. */
static int multiplicable(int c, int a, int b) {
  atomic_fetch_add(&counts[3], 1);
  if (c == a || a == b || c == b) return report("the same tile twice", c, a), 0;
  if (!usable(c) || !usable(a) || !usable(b)) return 0;
  if (state.colsb[c] % 4 || state.colsb[a] % 4 || state.colsb[b] % 4)
    return report("colsb is no multiple of 4", state.colsb[a], state.colsb[b]), 0;
  if (state.rows[a] != state.rows[c])
    return report("rows of A and C", state.rows[a], state.rows[c]), 0;
  if (state.colsb[a] / 4 != state.rows[b])
    return report("depth of A and B", state.colsb[a] / 4, state.rows[b]), 0;
  if (state.colsb[b] != state.colsb[c])
    return report("columns of B and C", state.colsb[b], state.colsb[c]), 0;
  return 1;
}

static void tdp_int8(int c, int a, int b, int signed_a, int signed_b) {
  if (!multiplicable(c, a, b)) return;
  for (int m = 0; m < state.rows[c]; ++m) {
    int32_t sums[ROW_BYTES / 4];
    memcpy(sums, state.data[c][m], sizeof sums);
    for (int k = 0; k < state.colsb[a] / 4; ++k)
      for (int n = 0; n < state.colsb[c] / 4; ++n)
        for (int i = 0; i < 4; ++i) {
          uint8_t left = state.data[a][m][4 * k + i], right = state.data[b][k][4 * n + i];
          uint32_t product = (uint32_t)((signed_a ? (int8_t)left : (int)left) *
                                        (signed_b ? (int8_t)right : (int)right));
          sums[n] = (int32_t)((uint32_t)sums[n] + product);
        }
    memset(state.data[c][m], 0, ROW_BYTES);
    memcpy(state.data[c][m], sums, state.colsb[c]);
  }
}

static float flushed(float value) { return fabsf(value) < 0x1p-126f ? copysignf(0, value) : value; }

static float widened(const uint8_t *bits) {
  uint16_t half;
  memcpy(&half, bits, 2);
  uint32_t word = (uint32_t)half << 16;
  float value;
  memcpy(&value, &word, 4);
  return flushed(value);
}

static void tdp_bf16(int c, int a, int b) {
  if (!multiplicable(c, a, b)) return;
  for (int m = 0; m < state.rows[c]; ++m) {
    float pairs[ROW_BYTES / 2] = {0};
    for (int k = 0; k < state.colsb[a] / 4; ++k)
      for (int n = 0; n < state.colsb[c] / 4; ++n)
        for (int i = 0; i < 2; ++i) {
          float left = widened(&state.data[a][m][4 * k + 2 * i]);
          float right = widened(&state.data[b][k][4 * n + 2 * i]);
          pairs[2 * n + i] = flushed(fmaf(left, right, pairs[2 * n + i]));
        }
    for (int n = 0; n < state.colsb[c] / 4; ++n) {
      float sum;
      memcpy(&sum, &state.data[c][m][4 * n], 4);
      sum = flushed(flushed(sum) + flushed(pairs[2 * n] + pairs[2 * n + 1]));
      memcpy(&state.data[c][m][4 * n], &sum, 4);
    }
  }
}

static uint64_t general_register(const ucontext_t *context, int number) {
  static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};
  return (uint64_t)context->uc_mcontext.gregs[order[number]];
}

/* The memory operand of a ModRM byte at `code`: its address without the index, the index (a tile's
 * stride), and its length in bytes. */
typedef struct {
  uint64_t base, index;
  int length;
} Operand;

static Operand operand(const ucontext_t *context, const uint8_t *code, int index_high, int base_high) {
  Operand result = {0, 0, 1};
  int mode = code[0] >> 6, rm = code[0] & 7, relative = 0;
  if (rm == 4) {
    int sib = code[result.length++];
    int index = (sib >> 3 & 7) | index_high << 3, base = (sib & 7) | base_high << 3;
    if (index != 4) result.index = general_register(context, index) << (sib >> 6);
    if ((sib & 7) == 5 && mode == 0)
      relative = 1;
    else
      result.base = general_register(context, base);
  } else if (rm == 5 && mode == 0) {
    relative = 2;
  } else {
    result.base = general_register(context, rm | base_high << 3);
  }
  if (mode == 1) {
    result.base += (uint64_t)(int64_t)(int8_t)code[result.length];
    result.length += 1;
  } else if (mode == 2 || relative) {
    int32_t displacement;
    memcpy(&displacement, code + result.length, 4);
    result.base += (uint64_t)(int64_t)displacement;
    result.length += 4;
  }
  if (relative == 2) result.base += (uint64_t)(code + result.length);
  return result;
}

enum { NONE = 0, P66 = 1, PF3 = 2, PF2 = 3 }; /* VEX.pp */

/* Do the instruction at `code`: its length, or 0 where it is none of AMX. */
static int step(const ucontext_t *context, const uint8_t *code) {
  if (code[0] != 0xC4 || (code[1] & 0x1F) != 2 || code[2] & 0x84) return 0; /* VEX.128.0F38.W0 */
  int index_high = !(code[1] & 0x40), base_high = !(code[1] & 0x20);
  int third = ~(code[2] >> 3) & 0xF, prefix = code[2] & 3, opcode = code[3];
  const uint8_t *modrm = code + 4;
  int is_register = modrm[0] >> 6 == 3, reg = modrm[0] >> 3 & 7, rm = modrm[0] & 7;
  if (opcode == 0x49 && is_register) {
    if (prefix == NONE && modrm[0] == 0xC0) {
      atomic_fetch_add(&counts[4], 1);
      memset(&state, 0, sizeof state);
      return 5;
    }
    if (prefix == PF2 && rm == 0) {
      if (usable(reg)) memset(state.data[reg], 0, sizeof state.data[reg]);
      return 5;
    }
  } else if (opcode == 0x49 && prefix == NONE && reg == 0) {
    Operand at = operand(context, modrm, index_high, base_high);
    ldtilecfg((const uint8_t *)(at.base + at.index));
    return 4 + at.length;
  } else if (opcode == 0x4B && !is_register && rm == 4) {
    Operand at = operand(context, modrm, index_high, base_high);
    if (prefix == PF3)
      tilestore(reg, at.base, (int64_t)at.index);
    else if (prefix == PF2 || prefix == P66)
      tileload(reg, at.base, (int64_t)at.index);
    else
      return 0;
    return 4 + at.length;
  } else if (opcode == 0x5E && is_register) {
    tdp_int8(reg, rm, third, prefix == PF2 || prefix == PF3, prefix == PF2 || prefix == P66);
    return 5;
  } else if (opcode == 0x5C && is_register && prefix == PF3) {
    tdp_bf16(reg, rm, third);
    return 5;
  }
  return 0;
}

static void on_sigill(int signal, siginfo_t *info, void *raw) {
  ucontext_t *context = raw;
  const uint8_t *code = (const uint8_t *)context->uc_mcontext.gregs[REG_RIP];
  int length = step(context, code);
  if (length)
    context->uc_mcontext.gregs[REG_RIP] += length;
  else
    sigaction(signal, &previous, NULL); /* not ours: it traps again, and takes the usual way */
  (void)info;
}

int amx_trap(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_sigill;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  return sigaction(SIGILL, &action, &previous);
}
