"""The C interface of one network: its header, and the functions behind it.

The functions are the runtime's, by the network's name and for it alone: a program holds many
networks, and a shared library keeps its own runtime to itself.
"""

from __future__ import annotations

from tvmcomp.codegen.native.c_text import comment
from tvmcomp.codegen.native.inference import name_of_shape
from tvmcomp.export.data import joined, pointers
from tvmcomp.export.network import Network
from tvmcomp.model import TensorSpec

_HEADER = """\
/* {name}: {source}, compiled by tvmcomp for {target}.
 *
 * Inputs and outputs, in the order of the arrays that {name}_run takes:
{tensors}
 *{states}
 * {weights} A context takes {workspace} bytes, and a
 * stack for each thread. example.c shows the use; tvmcomp.h says what each function does. */
#ifndef {guard}_H
#define {guard}_H

#include "tvmcomp.h"

{macros}
#ifdef __cplusplus
extern "C" {{
#endif

/* Names, types and shapes of the inputs and outputs. */
TVMCOMP_API const tvmcomp_network *{name}_info(void);
/* The first feature that this CPU lacks and the code needs, or NULL. */
TVMCOMP_API const char *{name}_missing_feature(void);
{shapes}
/* As the functions tvmcomp_... of tvmcomp.h. */
TVMCOMP_API tvmcomp_status {name}_create(const tvmcomp_options *options, tvmcomp_context **context);
TVMCOMP_API tvmcomp_status {name}_run(tvmcomp_context *context, const void *const *inputs,
                                      void *const *outputs);
TVMCOMP_API tvmcomp_status {name}_time(tvmcomp_context *context, const void *const *inputs,
                                       void *const *outputs, int32_t runs, double *seconds);
TVMCOMP_API tvmcomp_status {name}_profile(tvmcomp_context *context, const void *const *inputs,
                                          void *const *outputs, tvmcomp_call *calls,
                                          int64_t capacity, int64_t *count);
TVMCOMP_API tvmcomp_status {name}_set_hook(tvmcomp_context *context, tvmcomp_hook hook, void *user);
TVMCOMP_API void {name}_destroy(tvmcomp_context *context);
TVMCOMP_API const char *{name}_status_text(tvmcomp_status status);

#ifdef __cplusplus
}}
#endif
#endif
"""

_SHAPES = """
/* It was compiled for {count} shapes, which share the weights: {texts}.
 * Shape 0 is the one that {name}_info and {name}_create take; contexts of all are run alike. */
#define {guard}_SHAPES {count}
/* Of the shape of this number; NULL, and TVMCOMP_BAD_ARGUMENT, where there is none. */
TVMCOMP_API const tvmcomp_network *{name}_shape_info(int32_t shape);
TVMCOMP_API tvmcomp_status {name}_shape_create(int32_t shape, const tvmcomp_options *options,
                                               tvmcomp_context **context);
"""

_SOURCE = """\
/* The functions of {name}.h, and where the weights lie. */
#include "{name}.h"

extern const tvmcomp_network {name}_network;

extern const unsigned char {name}_weights[];
{arrays}
extern const tvmcomp_weights {name}_constants;
const tvmcomp_weights {name}_constants = {{.arrays = arrays{coded}}};

const tvmcomp_network *{name}_info(void) {{ return &{name}_network; }}

const char *{name}_missing_feature(void) {{ return tvmcomp_missing_feature(&{name}_network); }}

tvmcomp_status {name}_create(const tvmcomp_options *options, tvmcomp_context **context) {{
  return tvmcomp_create(&{name}_network, options, context);
}}

tvmcomp_status {name}_run(tvmcomp_context *context, const void *const *inputs,
                          void *const *outputs) {{
  return tvmcomp_run(context, inputs, outputs);
}}

tvmcomp_status {name}_time(tvmcomp_context *context, const void *const *inputs,
                           void *const *outputs, int32_t runs, double *seconds) {{
  return tvmcomp_time(context, inputs, outputs, runs, seconds);
}}

tvmcomp_status {name}_profile(tvmcomp_context *context, const void *const *inputs,
                              void *const *outputs, tvmcomp_call *calls, int64_t capacity,
                              int64_t *count) {{
  return tvmcomp_profile(context, inputs, outputs, calls, capacity, count);
}}

tvmcomp_status {name}_set_hook(tvmcomp_context *context, tvmcomp_hook hook, void *user) {{
  return tvmcomp_set_hook(context, hook, user);
}}

void {name}_destroy(tvmcomp_context *context) {{ tvmcomp_destroy(context); }}

const char *{name}_status_text(tvmcomp_status status) {{ return tvmcomp_status_text(status); }}
"""

_SHAPES_SOURCE = """
{declared}
const tvmcomp_network *{name}_shape_info(int32_t shape) {{
  static const tvmcomp_network *const networks[] = {{{networks}}};
  return shape >= 0 && shape < {count} ? networks[shape] : 0;
}}

tvmcomp_status {name}_shape_create(int32_t shape, const tvmcomp_options *options,
                                   tvmcomp_context **context) {{
  return tvmcomp_create({name}_shape_info(shape), options, context);
}}
"""

#: Bytes of a state's first value that the header shows.
_SHOWN = 16

_FUNCTIONS = (
    "info", "missing_feature", "create", "run", "time", "profile", "set_hook", "destroy",
    "status_text",
)  # fmt: skip
_SHAPE_FUNCTIONS = ("shape_info", "shape_create")


def functions(network: Network) -> list[str]:
    """What a shared library shows: the functions of the header."""
    names = _FUNCTIONS + (_SHAPE_FUNCTIONS if network.variants else ())
    return [f"{network.name}_{name}" for name in names]


def header(network: Network) -> str:
    """The text of ``NAME.h``."""
    signature = network.signature
    guard = network.name.upper()
    macros = [f"#define {guard}_INPUTS {len(signature.inputs)}"]
    macros += [f"#define {guard}_OUTPUTS {len(signature.outputs)}"]
    tensors = []
    for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for i, spec in enumerate(specs):
            tensors.append(f" *   {kind} {i}: {_described(spec)}")
            size = "*".join(map(str, spec.shape)) or "1"
            macros.append(f"#define {guard}_{kind.upper()}{i}_ELEMENTS ({size})")
    return _HEADER.format(
        name=network.name,
        source=comment(network.source),
        target=comment(network.target.name),
        tensors="\n".join(tensors),
        states=_states(network),
        shapes=_shapes(network),
        weights=_weights(network),
        workspace=network.workspace,
        guard=guard,
        macros="\n".join(macros) + "\n",
    )


def api_source(network: Network) -> tuple[str, bytes]:
    """The text of ``NAME_api.c``, and the bytes of ``NAME_weights`` that it points into."""
    name, symbol = network.name, f"{network.name}_weights"
    data, places = joined([*network.constants, network.coded])
    *arrays, begin = places
    coded = ""
    if network.coded.nbytes:
        coded = f", .coded = {symbol} + {begin}, .coded_bytes = {network.coded.nbytes}u"
    text = _SOURCE.format(name=name, arrays=pointers("arrays", symbol, arrays), coded=coded)
    if not network.variants:
        return text, data
    networks = [f"{name_of_shape(name, i)}_network" for i in range(len(network.variants) + 1)]
    more = _SHAPES_SOURCE.format(
        name=name,
        declared="".join(f"extern const tvmcomp_network {other};\n" for other in networks[1:]),
        networks=", ".join(f"&{other}" for other in networks),
        count=len(networks),
    )
    return text + more, data


def _weights(network: Network) -> str:
    nbytes, coded = network.constants_nbytes, network.coded.nbytes
    if not coded:
        return f"{nbytes} bytes of weights lie in read-only data."
    return (
        f"{nbytes} bytes of weights are coded in {network.constants_nbytes_in_file} of read-only"
        " data. They\n * are decoded with the first context, and freed with the last."
    )


def _described(spec: TensorSpec) -> str:
    return f"{comment(spec.name)}, {spec.dtype}[{', '.join(map(str, spec.shape))}]"


def _shapes(network: Network) -> str:
    """What the header has for several shapes; nothing for one."""
    if not network.variants:
        return ""
    shapes = [network.signature, *network.variants]
    return _SHAPES.format(
        name=network.name,
        guard=network.name.upper(),
        count=len(shapes),
        texts="; ".join(comment(shape.shapes_text) for shape in shapes),
    )


def _states(network: Network) -> str:
    """What a caller does with inputs that keep their value from run to run."""
    inputs = [spec.name for spec in network.signature.inputs]
    outputs = [spec.name for spec in network.signature.outputs]
    lines = ""
    for state in network.states:
        given, kept = inputs.index(state.input), outputs.index(state.output)
        lines += (
            f"\n * Input {given} is a state: {_beginning(state.start)} at the first run, then what"
            f"\n * output {kept} was at the run before.\n *"
        )
    return lines


def _beginning(start: bytes) -> str:
    if not any(start):
        return "zeros"
    shown = start[:_SHOWN].hex(" ")
    return f"the bytes {shown}{' ...' if len(start) > _SHOWN else ''}"
