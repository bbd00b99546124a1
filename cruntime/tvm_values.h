/* Values and tensors of TVM FFI's C interface, version 0.1, and DLPack's. */
#ifndef TVMCOMP_TVM_VALUES_H
#define TVMCOMP_TVM_VALUES_H

#include <stdint.h>

/* TVMFFIAny */
typedef struct {
  int32_t type;
  uint32_t length; /* of a short string */
  union {
    int64_t integer;
    void *pointer;
    char characters[8];
  } as;
} value;

/* DLTensor */
typedef struct {
  void *data;
  int32_t device_type, device;
  int32_t ndim;
  uint8_t code, bits;
  uint16_t lanes;
  const int64_t *shape, *strides;
  uint64_t byte_offset;
} tensor;

#endif
