"""A network of one kernel: what the tuner measures where it has no network around a kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tvmcomp.codegen.native.driver import driver_text
from tvmcomp.codegen.native.emit import NativeCode
from tvmcomp.codegen.native.inference import Inference
from tvmcomp.codegen.native.kernels import kernel_object
from tvmcomp.codegen.native.plan import Call, Place, Plan, Tensor
from tvmcomp.codegen.native.shared_constants import shared_constants
from tvmcomp.codegen.native.workspace import ALIGNMENT, Workspace
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import PrimFunc


def single_kernel(
    func: PrimFunc,
    tensors: Sequence[tuple[str, Sequence[int]]],
    target: TargetDescription,
    in_integers: bool,
    name: str = "kernel",
) -> NativeCode:
    """Code of a network that runs a kernel on tensors of its caller's.

    To the network all of them are inputs, which it uses where they lie: whoever runs it has them at
    aligned addresses, and looks for results in those that the kernel writes.

    Args:
        func: the kernel, scheduled.
        tensors: dtype and shape of each that it takes.
        target: the device.
        in_integers: see :func:`tvmcomp.codegen.code_target.code_target`.
        name: the network's, an identifier of C.

    Raises:
        ToolError: see :func:`~tvmcomp.codegen.native.kernels.kernel_object`.
    """
    inputs = tuple(
        Tensor(Place("input", i), tuple(shape), dtype, _nbytes(dtype, shape))
        for i, (dtype, shape) in enumerate(tensors)
    )
    plan = Plan(
        kernels=("main",),
        inputs=inputs,
        constants=(),
        scalars=(),
        buffers=(),
        carried=(),
        loops=0,
        steps=(Call(0, inputs, ()),),
        outputs=(),
    )
    specs = tuple(TensorSpec(f"x{i}", each.shape, each.dtype) for i, each in enumerate(inputs))
    run = Inference(plan, Workspace({}, 0), Signature(specs, ()), [ALIGNMENT] * len(inputs))
    return NativeCode(
        kernel_object({f"{name}_k0": func}, target, in_integers),
        driver_text([run], name, target.features),
        (plan.kernels,),
        (0,),
        shared_constants([[]]),
    )


def _nbytes(dtype: str, shape: Sequence[int]) -> int:
    return -(-math.prod(shape) * tvm_ffi.dtype(dtype).bits // 8)
