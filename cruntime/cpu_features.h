/* Whether this CPU, and this process, can run a network's code. */
#ifndef TVMCOMP_CPU_FEATURES_H
#define TVMCOMP_CPU_FEATURES_H

#include "kernel_imports.h"

/* The first of the comma separated features that the CPU lacks, or NULL. A name that is not in the
 * table of the architecture (cpu_features.c) is not checked. */
TVMCOMP_HIDDEN const char *tvmcomp_lacking(const char *features);
/* 0, or -1 where code with `features` needs leave of the system that this process does not get. */
TVMCOMP_HIDDEN int tvmcomp_ask_leave(const char *features);

#endif
