"""Write plans down in C: the network's descriptor, and the function that runs it.

    NAME_network    what tvmcomp.h calls a network: tensors, kernels, the function ``run``
    run(frame)      the calls, in order, on addresses in the caller's tensors and the workspace

A network that was built for several shapes has a descriptor for each (``NAME_shape1_network``) and
one table of constants for all. Names that other files see begin with the network's; all others are
static.
"""

from __future__ import annotations

from collections.abc import Sequence

from tvmcomp.codegen.native.c_text import comment, declared_shape, literal, numbers, shape_name
from tvmcomp.codegen.native.driver_steps import Addresses, Steps
from tvmcomp.codegen.native.inference import Inference, Repeated, name_of_shape, whole_of
from tvmcomp.codegen.native.parts import run_in_parts
from tvmcomp.codegen.native.plan import Call, Loop, Plan, Step, Tensor
from tvmcomp.codegen.native.workspace import ALIGNMENT

_CALL = """\
/* Not inlined: a driver of thousands of calls would take compilers a minute. */
static __attribute__((noinline)) void tell(const tvmcomp_frame *frame, int32_t kernel,
                                           int32_t before) {
  if (frame->hook) frame->hook(frame->hook_user, kernel, before);
}

/* Run a kernel between the two calls of a hook; end with what it returns, unless that is 0. */
#define CALL(kernel, call)       \\
  do {                           \\
    tell(frame, kernel, 1);      \\
    const int32_t status = call; \\
    tell(frame, kernel, 0);      \\
    if (status) return status;   \\
  } while (0)
"""


def driver_text(
    inferences: Sequence[Inference | Repeated],
    name: str,
    features: Sequence[str],
    replaceable: bool = False,
) -> str:
    """The C source of a network's driver.

    Args:
        inferences: for each of its shapes; their plans have the same constants. The first is none
            that is repeated.
        name: the network's, an identifier of C.
        features: of the CPU, as LLVM calls them, that the kernels need.
        replaceable: the kernels are variables that hold functions, for whoever loads the library
            to set: the tuner puts other kernels in place.
    """
    whole = [whole_of(each, inferences[0]) for each in inferences]
    constants = whole[0].plan.constants
    names = [f"constant_{i}" for i in range(len(constants))]
    parts = [
        f"/* {comment(name)}: written by tvmcomp. */\n"
        '#include <string.h>\n\n#include "tvmcomp.h"\n',
        _CALL if any(each.plan.kernels for each in whole) else "",
        _shapes([each.plan for each in whole]),
        _tensors("constants", constants, names, [ALIGNMENT] * len(constants)),
        _WEIGHTS.format(name=name),
    ]
    for shape, each in enumerate(inferences):
        if isinstance(each, Repeated):
            parts.append(run_in_parts(whole[0], each, _static(shape)))
        else:
            parts += _own_code(each, name, shape, replaceable)
        parts += _described(whole[shape], name, shape, features)
    parts.append(_library([name_of_shape(name, shape) for shape in range(len(inferences))]))
    return "\n".join(part for part in parts if part)


def _static(shape: int) -> str:
    """What ends the static names of a shape."""
    return f"_shape{shape}" if shape else ""


def _own_code(of: Inference, name: str, shape: int, replaceable: bool) -> list[str]:
    plan, own = of.plan, name_of_shape(name, shape)
    addresses = Addresses(plan, of.workspace, [spec.name for spec in of.signature.inputs])
    static = _static(shape)
    return [_kernels(plan, own, static, replaceable), _run(plan, addresses, own, static)]


def _described(of: Inference, name: str, shape: int, features: Sequence[str]) -> list[str]:
    plan, static = of.plan, _static(shape)
    inputs = [spec.name for spec in of.signature.inputs]
    outputs = [spec.name for spec in of.signature.outputs]
    return [
        _tensors(f"inputs{static}", plan.inputs, inputs, of.input_alignments),
        _tensors(f"outputs{static}", plan.outputs, outputs, [ALIGNMENT] * len(outputs)),
        _network(of, name_of_shape(name, shape), static, features),
    ]


def _kernels(plan: Plan, name: str, static: str, replaceable: bool) -> str:
    declared = "TVMCOMP_API int32_t (*{})({});" if replaceable else "int32_t {}({});"
    shapes: dict[int, Call] = {}
    for step in _calls(plan.steps):
        shapes.setdefault(step.kernel, step)
    lines = []
    for index, kernel in enumerate(plan.kernels):
        call = shapes[index]
        kinds = ["const void *"] * len(call.inputs) + ["void *"] * len(call.outputs)
        function = declared.format(f"{name}_k{index}", ", ".join(kinds) or "void")
        lines.append(f"{function} /* {kernel} */")
    names = ",\n    ".join(literal(kernel) for kernel in plan.kernels) or "0"
    lines.append(f"\nstatic const char *const kernels{static}[] = {{\n    {names},\n}};")
    return "\n".join(lines) + "\n"


def _calls(steps: Sequence[Step]) -> list[Call]:
    found = []
    for step in steps:
        found += _calls(step.body) if isinstance(step, Loop) else [step]
    return found


def _run(plan: Plan, addresses: Addresses, name: str, static: str) -> str:
    lines = [
        f"static int32_t run{static}(const tvmcomp_frame *frame) {{",
        *_scalars(plan),
        "  const void *const *const in = frame->inputs;",
        "  const void *const *const weight = frame->constants;",
        "  void *const *const out = frame->outputs;",
        "  uint8_t *const w = frame->workspace;",
        "  (void)in, (void)weight, (void)out, (void)w;",
        *addresses.declarations(),
        *Steps(plan, addresses, name).lines(plan.steps, "  "),
        *addresses.results(),
        "  return 0;",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _scalars(plan: Plan) -> list[str]:
    return [
        f"  static const _Alignas({ALIGNMENT}) uint8_t scalar{i}[] = {{{numbers(value)}}}; "
        f"/* {value.dtype} {comment(str(value))} */"
        for i, value in enumerate(plan.scalars)
    ]


def _tensors(
    what: str, tensors: Sequence[Tensor], names: Sequence[str], alignments: Sequence[int]
) -> str:
    if not tensors:
        return ""
    rows = [
        f'    {{{literal(names[i])}, "{tensor.dtype}", {len(tensor.shape)}, '
        f"{shape_name(tensor.shape)}, {tensor.nbytes}u, {alignments[i]}}},"
        for i, tensor in enumerate(tensors)
    ]
    return "\n".join([f"static const tvmcomp_tensor {what}[] = {{", *rows, "};", ""])


def _shapes(plans: Sequence[Plan]) -> str:
    tensors = [t for plan in plans for t in (*plan.inputs, *plan.outputs, *plan.constants)]
    shapes = dict.fromkeys(tensor.shape for tensor in tensors)
    return "\n".join([*map(declared_shape, shapes), ""]) if shapes else ""


_WEIGHTS = """\
#ifdef TVMCOMP_EMBEDDED
extern const tvmcomp_weights {name}_constants;
#define WEIGHTS &{name}_constants
#else
#define WEIGHTS 0
#endif
"""


def _network(of: Inference, name: str, static: str, features: Sequence[str]) -> str:
    plan = of.plan

    def array(what: str, tensors: Sequence[Tensor]) -> str:
        return what if tensors else "0"

    return f"""\
extern const tvmcomp_network {name}_network;
const tvmcomp_network {name}_network = {{
    .abi = TVMCOMP_ABI,
    .name = {literal(name)},
    .features = {literal(",".join(features))},
    .num_inputs = {len(plan.inputs)},
    .num_outputs = {len(plan.outputs)},
    .num_constants = {len(plan.constants)},
    .num_kernels = {len(plan.kernels)},
    .inputs = {array(f"inputs{static}", plan.inputs)},
    .outputs = {array(f"outputs{static}", plan.outputs)},
    .constants = {array("constants", plan.constants)},
    .weights = WEIGHTS,
    .kernels = kernels{static},
    .workspace = {of.workspace.size}u,
    .run = run{static},
}};
"""


def _library(names: Sequence[str]) -> str:
    """What a loader of the shared library asks for the network of each shape."""
    networks = ", ".join(f"&{name}_network" for name in names)
    return f"""\
#ifdef TVMCOMP_SHARED
TVMCOMP_API const tvmcomp_network *tvmcomp_library(int32_t shape);
const tvmcomp_network *tvmcomp_library(int32_t shape) {{
  static const tvmcomp_network *const networks[] = {{{networks}}};
  return shape >= 0 && shape < {len(names)} ? networks[shape] : 0;
}}
#endif
"""
