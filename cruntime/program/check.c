/* Whether an output is what it must be: on another CPU floats are added up in another order, and an
 * 8-bit value near the middle between two steps takes the other one. */
#include "program.h"

#include <math.h>
#include <string.h>

/* A float of 16 bits with `mantissa` bits of mantissa. */
static double from_half(uint16_t bits, int mantissa) {
  int exponents = 15 - mantissa;
  int bias = (1 << (exponents - 1)) - 1;
  int exponent = bits >> mantissa & ((1 << exponents) - 1);
  int fraction = bits & ((1 << mantissa) - 1);
  double sign = bits >> 15 ? -1 : 1;
  if (exponent == (1 << exponents) - 1) return fraction ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * ldexp(fraction, 1 - bias - mantissa);
  return sign * ldexp(fraction + (1 << mantissa), exponent - bias - mantissa);
}

static int64_t elements(const tvmcomp_tensor *tensor) {
  int64_t count = 1;
  for (int32_t i = 0; i < tensor->ndim; i++) count *= tensor->shape[i];
  return count;
}

/* Element `i`; memcpy as the data may lie at any address. */
#define READ(type)                                              \
  do {                                                          \
    type value;                                                 \
    memcpy(&value, (const char *)data + i * (int64_t)sizeof value, sizeof value); \
    return (double)value;                                       \
  } while (0)

/* Of a type that is none of these the bytes are compared. */
static int known(const char *dtype) {
  static const char *const types[] = {"float32", "float64", "float16", "bfloat16", "bool",
                                      "int8",    "int16",   "int32",   "int64",    "uint8",
                                      "uint16",  "uint32",  "uint64"};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (!strcmp(dtype, types[i])) return 1;
  return 0;
}

static double element(const tvmcomp_tensor *tensor, const void *data, int64_t i) {
  const char *dtype = tensor->dtype;
  if (!strcmp(dtype, "float32")) READ(float);
  if (!strcmp(dtype, "float64")) READ(double);
  if (!strcmp(dtype, "int8")) READ(int8_t);
  if (!strcmp(dtype, "uint8") || !strcmp(dtype, "bool")) READ(uint8_t);
  if (!strcmp(dtype, "int16")) READ(int16_t);
  if (!strcmp(dtype, "uint16")) READ(uint16_t);
  if (!strcmp(dtype, "int32")) READ(int32_t);
  if (!strcmp(dtype, "uint32")) READ(uint32_t);
  if (!strcmp(dtype, "int64")) READ(int64_t);
  if (!strcmp(dtype, "uint64")) READ(uint64_t);
  if (!strcmp(dtype, "float16") || !strcmp(dtype, "bfloat16")) {
    uint16_t bits;
    memcpy(&bits, (const char *)data + i * 2, sizeof bits);
    return from_half(bits, dtype[0] == 'b' ? 7 : 10);
  }
  return NAN;
}

static double span(const tvmcomp_tensor *tensor, const void *wanted, int64_t count) {
  double low = INFINITY, high = -INFINITY;
  for (int64_t i = 0; i < count; i++) {
    double value = element(tensor, wanted, i);
    if (!isfinite(value)) continue;
    low = fmin(low, value);
    high = fmax(high, value);
  }
  if (low > high) return 1; /* nothing finite */
  return fmax(fmax(high - low, fmax(fabs(low), fabs(high))), 1e-12);
}

tvmcomp_agreement tvmcomp_compare(const tvmcomp_tensor *tensor, const void *given,
                                  const void *wanted, double tolerance) {
  if (!known(tensor->dtype)) {
    int same = !memcmp(given, wanted, (size_t)tensor->nbytes);
    return (tvmcomp_agreement){same ? 0 : INFINITY, same};
  }
  int64_t count = elements(tensor), within = 0;
  double range = span(tensor, wanted, count), largest = 0;
  for (int64_t i = 0; i < count; i++) {
    double a = element(tensor, given, i), b = element(tensor, wanted, i);
    double difference = a == b || (isnan(a) && isnan(b)) ? 0 : fabs(a - b) / range;
    if (isnan(difference)) difference = INFINITY;
    within += difference <= tolerance;
    largest = fmax(largest, difference);
  }
  return (tvmcomp_agreement){largest, count ? (double)within / (double)count : 1};
}
