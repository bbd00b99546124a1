"""The example: a program in C that runs the network once."""

from __future__ import annotations

from tvmcomp.export.network import Network

#: numpy's names of types -> C's. Half floats, which C has no type for, are shown as their bits.
_TYPES = {
    "float32": "float",
    "float64": "double",
    "bool": "unsigned char",
    **{f"{sign}{bits}": f"{sign}{bits}_t" for sign in ("int", "uint") for bits in (8, 16, 32, 64)},
    "float16": "uint16_t",
    "bfloat16": "uint16_t",
}

_TEXT = """\
/* Runs {name} once on zeros, and prints the first values of its first output.
 * README.txt says how to compile it. */
#include "{name}.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {{
  const tvmcomp_network *network = {name}_info();
  const void *inputs[{guard}_INPUTS + 1];
  void *outputs[{guard}_OUTPUTS + 1];
  tvmcomp_options options;
  tvmcomp_context *context;
  tvmcomp_status status;
  int i;

  /* Any memory will do. Outputs at multiples of 64 bytes are written in place, others copied. */
  for (i = 0; i < {guard}_INPUTS; i++) inputs[i] = calloc(network->inputs[i].nbytes + 1, 1);
  for (i = 0; i < {guard}_OUTPUTS; i++) outputs[i] = malloc(network->outputs[i].nbytes + 1);

  memset(&options, 0, sizeof options); /* all zero are the defaults */
  options.threads = 2; /* the calling one and one more */
  status = {name}_create(&options, &context);
  if (status == TVMCOMP_OK) status = {name}_run(context, inputs, outputs); /* and again */
  {name}_destroy(context);
  if (status != TVMCOMP_OK) {{
    fprintf(stderr, "%s\\n", {name}_status_text(status));
    return 1;
  }}
  for (i = 0; i < 10 && i < {guard}_OUTPUT0_ELEMENTS; i++)
    printf("%g\\n", (double)((const {kind} *)outputs[0])[i]);

  for (i = 0; i < {guard}_INPUTS; i++) free((void *)inputs[i]);
  for (i = 0; i < {guard}_OUTPUTS; i++) free(outputs[i]);
  return 0;
}}
"""


def example(network: Network) -> str:
    """The text of ``example.c``, which is C++ as well."""
    kind = _TYPES.get(network.signature.outputs[0].dtype, "unsigned char")
    return _TEXT.format(name=network.name, guard=network.name.upper(), kind=kind)
