/* Decoded weights, which all contexts that were given the same coded ones share. */
#ifndef TVMCOMP_WEIGHTS_H
#define TVMCOMP_WEIGHTS_H

#include "include/tvmcomp.h"
#include "kernel_imports.h"

typedef struct tvmcomp_decoded tvmcomp_decoded;

/* Sets those of `arrays` that are NULL: the network's constants that are coded. They stay until
 * `decoded` is given back. The first to take them decodes, others wait for it. */
TVMCOMP_HIDDEN tvmcomp_status tvmcomp_take_decoded(const tvmcomp_network *network,
                                                   const tvmcomp_weights *weights,
                                                   const void **arrays, tvmcomp_decoded **decoded);

/* Frees them with the last who took them; NULL does nothing. */
TVMCOMP_HIDDEN void tvmcomp_give_decoded(tvmcomp_decoded *decoded);

#endif
