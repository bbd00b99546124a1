"""The program of one network (``cruntime/program``): what it is linked with."""

from __future__ import annotations

from tvmcomp.artifact.reference import ENOUGH
from tvmcomp.export.data import joined, pointers
from tvmcomp.export.network import Network

_TEXT = """\
/* The network that this program runs, its reference inputs and the outputs that it must give. */
#include "{name}.h"
#include "program.h"

{arrays}{shapes}const tvmcomp_program tvmcomp_this_program = {{
    .info = {info},
    .missing_feature = {name}_missing_feature,
    .create = {create},
    .run = {name}_run,
    .time = {name}_time,
    .profile = {name}_profile,
    .destroy = {name}_destroy,
    .status_text = {name}_status_text,
{choose}{reference}}};
"""

_SHAPES = """\
static int32_t chosen;

static const tvmcomp_network *info(void) {{ return {name}_shape_info(chosen); }}

static tvmcomp_status create(const tvmcomp_options *options, tvmcomp_context **context) {{
  return {name}_shape_create(chosen, options, context);
}}

static int choose(int32_t shape) {{
  if (!{name}_shape_info(shape)) return -1;
  chosen = shape;
  return 0;
}}

"""


def program_source(network: Network) -> tuple[str, bytes]:
    """The text of ``NAME_program.c``, and the bytes of ``NAME_reference`` that it points into.

    Without a reference there are no bytes, and the text refers to none.
    """
    name = network.name
    shapes = {"shapes": "", "info": f"{name}_info", "create": f"{name}_create", "choose": ""}
    if network.variants:
        shapes = {"shapes": _SHAPES.format(name=name), "info": "info", "create": "create"}
        shapes["choose"] = "    .choose = choose,\n"
    if network.reference is None:
        return _TEXT.format(name=name, arrays="", reference="", **shapes), b""
    inputs, outputs = network.reference_arrays("inputs"), network.reference_arrays("outputs")
    data, places = joined([*inputs, *outputs])
    symbol = f"{name}_reference"
    arrays = "\n".join(
        [
            f"extern const unsigned char {symbol}[];\n",
            pointers("inputs", symbol, places[: len(inputs)]),
            pointers("outputs", symbol, places[len(inputs) :]),
            "",
        ]
    )
    reference = f"""\
    .inputs = inputs,
    .outputs = outputs,
    .tolerance = {network.tolerance!r},
    .within = {ENOUGH!r},
"""
    return _TEXT.format(name=name, arrays=arrays, reference=reference, **shapes), data
