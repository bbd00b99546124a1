"""From a lowered module to what a compiler of C needs: kernels' machine code and their driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvmcomp.codegen.code_target import code_target
from tvmcomp.codegen.native.driver import driver_text
from tvmcomp.codegen.native.from_relax import only_calls, plan_of
from tvmcomp.codegen.native.imports import calls_by_name
from tvmcomp.codegen.native.inference import Inference, Repeated, name_of_shape
from tvmcomp.codegen.native.kernels import kernel_object
from tvmcomp.codegen.native.plan import Plan, with_constants
from tvmcomp.codegen.native.shared_constants import SharedConstants, shared_constants
from tvmcomp.codegen.native.workspace import ALIGNMENT, place
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.model import Signature
from tvmcomp.passes.lowered import Lowered
from tvmcomp.passes.phase import Watch
from tvmcomp.targets import TargetDescription


@dataclass(frozen=True)
class NativeCode:
    """A network's code, not linked.

    Attributes:
        kernels: an object file.
        driver: C source; it includes ``tvmcomp.h``.
        kernel_names: of the kernels of each shape that has its own, in the order of the driver's
            numbers.
        workspaces: bytes that an inference of each of those needs beside its inputs, outputs and
            constants.
        constants: one table for all shapes, in the order of the driver's.
    """

    kernels: bytes
    driver: str
    kernel_names: tuple[tuple[str, ...], ...]
    workspaces: tuple[int, ...]
    constants: SharedConstants

    @property
    def calls_by_name(self) -> bool:
        """Whether it needs the part of the runtime that kernels call by name."""
        return calls_by_name(self.kernels)


def emit(
    shapes: Sequence[Lowered | int],
    target: TargetDescription,
    signatures: Sequence[Signature],
    name: str = "network",
    watch: Watch | None = None,
    replaceable: bool = False,
) -> NativeCode:
    """Code for a CPU.

    Args:
        shapes: the scheduled network, for each shape that it is built for; or how many times the
            first one is run for it, for a batch of so many times its samples.
        target: the device.
        signatures: for each shape, names of its inputs and outputs.
        name: an identifier of C; the names that object files share begin with it.
        watch: is given the driver.
        replaceable: see :func:`~tvmcomp.codegen.native.driver.driver_text`.

    Raises:
        ModelError: the network does something that no driver can; the message names it.
        ToolError: a kernel calls a function that no device has.
    """
    own = {shape: each for shape, each in enumerate(shapes) if not isinstance(each, int)}
    constants = shared_constants([lowered.constants for lowered in own.values()])
    mods = [only_calls(each.looped, code_target(target, each.in_integers)) for each in own.values()]
    plans = [
        plan_of(mod, len(signatures[shape].inputs)) for shape, mod in zip(own, mods, strict=True)
    ]
    if len(plans) > 1:
        plans = with_constants(plans, constants.places)
    inferences: list[Inference | Repeated] = [
        Repeated(each, signature)
        if isinstance(each, int)
        else _inference(plans[list(own).index(shape)], each, signature)
        for shape, (each, signature) in enumerate(zip(shapes, signatures, strict=True))
    ]
    kernels = {
        f"{name_of_shape(name, shape)}_k{i}": mod[kernel]
        for shape, mod, plan in zip(own, mods, plans, strict=True)
        for i, kernel in enumerate(plan.kernels)
    }
    driver = driver_text(inferences, name, target.features, replaceable)
    if watch is not None:
        watch("driver", driver)
    return NativeCode(
        kernel_object(kernels, target, any(lowered.in_integers for lowered in own.values())),
        driver,
        tuple(plan.kernels for plan in plans),
        tuple(each.workspace.size for each in inferences if isinstance(each, Inference)),
        constants,
    )


def _inference(plan: Plan, lowered: Lowered, signature: Signature) -> Inference:
    alignments = [
        max(1, tvm_ffi.dtype(tensor.dtype).bits // 8) if lowered.unaligned_inputs else ALIGNMENT
        for tensor in plan.inputs
    ]
    copied = [i for i, alignment in enumerate(alignments) if alignment == ALIGNMENT]
    return Inference(plan, place(plan, copied), signature, alignments)
