/* What the program prints with --json. */
#include "program.h"

#include <stdio.h>

void tvmcomp_print_text(const char *text) {
  putchar('"');
  for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
    if (*c == '"' || *c == '\\') printf("\\%c", *c);
    else if (*c < 0x20) printf("\\u%04x", *c);
    else putchar(*c);
  }
  putchar('"');
}

void tvmcomp_print_tensors(const char *kind, const tvmcomp_tensor *tensors, int32_t count) {
  printf("\"%s\": [", kind);
  for (int32_t i = 0; i < count; i++) {
    printf("%s{\"name\": ", i ? ", " : "");
    tvmcomp_print_text(tensors[i].name);
    printf(", \"dtype\": \"%s\", \"shape\": [", tensors[i].dtype);
    for (int32_t k = 0; k < tensors[i].ndim; k++)
      printf("%s%lld", k ? ", " : "", (long long)tensors[i].shape[k]);
    printf("], \"bytes\": %llu}", (unsigned long long)tensors[i].nbytes);
  }
  putchar(']');
}
