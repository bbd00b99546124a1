"""Write a plan down in C: the network's descriptor, and the function that runs it.

    NAME_network    what tvmcomp.h calls a network: tensors, kernels, the function ``run``
    run(frame)      the calls, in order, on addresses in the caller's tensors and the workspace

Names that other files see begin with the network's; all others are static.
"""

from __future__ import annotations

from collections.abc import Sequence

from tvmcomp.codegen.native.c_text import comment, declared_shape, literal, numbers, shape_name
from tvmcomp.codegen.native.driver_steps import Addresses, Steps
from tvmcomp.codegen.native.plan import Call, Loop, Plan, Step, Tensor
from tvmcomp.codegen.native.workspace import ALIGNMENT, Workspace
from tvmcomp.model import Signature

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
    plan: Plan,
    workspace: Workspace,
    signature: Signature,
    name: str,
    features: Sequence[str],
    input_alignments: Sequence[int],
) -> str:
    """The C source of a network's driver.

    Args:
        plan: what an inference does.
        workspace: where its buffers lie.
        signature: names of inputs and outputs.
        name: the network's, an identifier of C.
        features: of the CPU, as LLVM calls them, that the kernels need.
        input_alignments: bytes, what each input's address must be a multiple of; another one is
            copied, where ``workspace`` has a place for it.
    """
    inputs = [spec.name for spec in signature.inputs]
    outputs = [spec.name for spec in signature.outputs]
    constants = [f"constant_{i}" for i in range(len(plan.constants))]
    aligned = [ALIGNMENT] * max(len(outputs), len(constants))
    addresses = Addresses(plan, workspace, inputs)
    parts = [
        f"/* {comment(name)}: written by tvmcomp. */\n"
        '#include <string.h>\n\n#include "tvmcomp.h"\n',
        _kernels(plan, name),
        _CALL if plan.kernels else "",
        *_scalars(plan),
        _run(plan, addresses, name),
        _shapes(plan),
        _tensors("inputs", plan.inputs, inputs, input_alignments),
        _tensors("outputs", plan.outputs, outputs, aligned),
        _tensors("constants", plan.constants, constants, aligned),
        _network(plan, workspace, name, features),
    ]
    return "\n".join(part for part in parts if part)


def _kernels(plan: Plan, name: str) -> str:
    shapes: dict[int, Call] = {}
    for step in _calls(plan.steps):
        shapes.setdefault(step.kernel, step)
    lines = []
    for index, kernel in enumerate(plan.kernels):
        call = shapes[index]
        kinds = ["const void *"] * len(call.inputs) + ["void *"] * len(call.outputs)
        lines.append(f"int32_t {name}_k{index}({', '.join(kinds) or 'void'}); /* {kernel} */")
    names = ",\n    ".join(literal(kernel) for kernel in plan.kernels) or "0"
    lines.append(f"\nstatic const char *const kernels[] = {{\n    {names},\n}};")
    return "\n".join(lines) + "\n"


def _calls(steps: Sequence[Step]) -> list[Call]:
    found = []
    for step in steps:
        found += _calls(step.body) if isinstance(step, Loop) else [step]
    return found


def _scalars(plan: Plan) -> list[str]:
    return [
        f"static const _Alignas({ALIGNMENT}) uint8_t scalar{i}[] = {{{numbers(value)}}}; "
        f"/* {value.dtype} {comment(str(value))} */"
        for i, value in enumerate(plan.scalars)
    ]


def _run(plan: Plan, addresses: Addresses, name: str) -> str:
    lines = [
        "static int32_t run(const tvmcomp_frame *frame) {",
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


def _shapes(plan: Plan) -> str:
    shapes = dict.fromkeys(t.shape for t in (*plan.inputs, *plan.outputs, *plan.constants))
    return "\n".join([*map(declared_shape, shapes), ""]) if shapes else ""


def _network(plan: Plan, workspace: Workspace, name: str, features: Sequence[str]) -> str:
    def array(what: str, tensors: Sequence[Tensor]) -> str:
        return what if tensors else "0"

    return f"""\
#ifdef TVMCOMP_EMBEDDED
extern const void *const {name}_constants[];
#define CONSTANT_DATA {name}_constants
#else
#define CONSTANT_DATA 0
#endif

extern const tvmcomp_network {name}_network;
const tvmcomp_network {name}_network = {{
    .abi = TVMCOMP_ABI,
    .name = {literal(name)},
    .features = {literal(",".join(features))},
    .num_inputs = {len(plan.inputs)},
    .num_outputs = {len(plan.outputs)},
    .num_constants = {len(plan.constants)},
    .num_kernels = {len(plan.kernels)},
    .inputs = {array("inputs", plan.inputs)},
    .outputs = {array("outputs", plan.outputs)},
    .constants = {array("constants", plan.constants)},
    .constant_data = CONSTANT_DATA,
    .kernels = kernels,
    .workspace = {workspace.size}u,
    .run = run,
}};

#ifdef TVMCOMP_SHARED
TVMCOMP_API const tvmcomp_network *tvmcomp_library(void);
const tvmcomp_network *tvmcomp_library(void) {{ return &{name}_network; }}
#endif
"""
