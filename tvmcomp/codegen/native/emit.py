"""From a lowered module to what a compiler of C needs: kernels' machine code and their driver."""

from __future__ import annotations

from dataclasses import dataclass

from tvmcomp.codegen.code_target import code_target
from tvmcomp.codegen.native.driver import driver_text
from tvmcomp.codegen.native.from_relax import only_calls, plan_of
from tvmcomp.codegen.native.imports import calls_by_name
from tvmcomp.codegen.native.kernels import kernel_object
from tvmcomp.codegen.native.workspace import ALIGNMENT, place
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.model import Signature
from tvmcomp.passes.phase import Watch
from tvmcomp.passes.pipeline import Lowered
from tvmcomp.targets import TargetDescription


@dataclass(frozen=True)
class NativeCode:
    """A network's code, not linked.

    Attributes:
        kernels: an object file.
        driver: C source; it includes ``tvmcomp.h``.
        kernel_names: of the module's kernels, in the order of the driver's numbers.
        workspace: bytes that an inference needs beside its inputs, outputs and constants.
    """

    kernels: bytes
    driver: str
    kernel_names: tuple[str, ...]
    workspace: int

    @property
    def calls_by_name(self) -> bool:
        """Whether it needs the part of the runtime that kernels call by name."""
        return calls_by_name(self.kernels)


def emit(
    lowered: Lowered,
    target: TargetDescription,
    signature: Signature,
    name: str = "network",
    watch: Watch | None = None,
) -> NativeCode:
    """Code for a CPU.

    Args:
        lowered: the scheduled network.
        target: the device.
        signature: names of its inputs and outputs.
        name: an identifier of C; the names that object files share begin with it.
        watch: is given the driver.

    Raises:
        ModelError: the network does something that no driver can; the message names it.
        ToolError: a kernel calls a function that no device has.
    """
    mod = only_calls(lowered.looped, code_target(target, lowered.in_integers))
    plan = plan_of(mod, len(signature.inputs))
    alignments = [
        max(1, tvm_ffi.dtype(tensor.dtype).bits // 8) if lowered.unaligned_inputs else ALIGNMENT
        for tensor in plan.inputs
    ]
    copied = [i for i, alignment in enumerate(alignments) if alignment == ALIGNMENT]
    workspace = place(plan, copied)
    kernels = {f"{name}_k{i}": mod[kernel] for i, kernel in enumerate(plan.kernels)}
    driver = driver_text(plan, workspace, signature, name, target.features, alignments)
    if watch is not None:
        watch("driver", driver)
    return NativeCode(
        kernel_object(kernels, target, lowered.in_integers),
        driver,
        plan.kernels,
        workspace.size,
    )
