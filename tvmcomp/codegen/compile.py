"""From a module and a target to a library: lower, generate code, link."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tvmcomp.artifact.code import Code
from tvmcomp.codegen.batch_form import reads_mostly_weights
from tvmcomp.codegen.code_target import machine_code
from tvmcomp.codegen.cuda.kernels import compiled_at_build
from tvmcomp.codegen.native.emit import emit
from tvmcomp.codegen.native.link import link_shared
from tvmcomp.codegen.native.shared_constants import shared_constants
from tvmcomp.codegen.object_files import export
from tvmcomp.codegen.toolchain import link_function
from tvmcomp.model import Signature
from tvmcomp.passes.lowered import Lowered
from tvmcomp.passes.lowering.call_sources import CallSources
from tvmcomp.passes.lowering.sparse_form import Race, SparseDecision
from tvmcomp.passes.phase import Watch
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.samples_apart import times_as_many
from tvmcomp.passes.scheduled.schedule import Tuned
from tvmcomp.runtime import tvm_threads  # noqa: F401  children of a fork after run_here
from tvmcomp.runtime.amx_permission import allow_amx
from tvmcomp.targets import TargetDescription
from tvmcomp.temporary_folder import temporary_folder
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module


@dataclass(frozen=True)
class Library:
    """A linked network. Of one built for several shapes, what is known of kernels is the first's.

    Attributes:
        binary: the shared library.
        code: what that was linked from; None for a GPU.
        constants: what it takes beside the inputs, in order.
        shared_nbytes: bytes of the constants that every shape reads.
        sources: what each kernel computes, see :func:`tvmcomp.passes.lowering.kernel_sources`.
        tasks: the kernels before they were scheduled, by name.
        computed: what each call of each kernel of the library computes.
        unscheduled: those kernels before they were scheduled.
        unaligned_inputs: the inputs may lie at any address that suits their elements.
        sparse: what was decided for weights with zeros in them.
    """

    binary: bytes
    code: Code | None
    constants: list[np.ndarray]
    shared_nbytes: int
    sources: dict[str, frozenset[str]]
    tasks: dict[str, Any]
    computed: CallSources
    unscheduled: dict[str, Any]
    unaligned_inputs: bool
    sparse: tuple[SparseDecision, ...]


def generate(lowered: Lowered, target: TargetDescription, watch: Watch | None = None) -> Any:
    """Machine code for a lowered module that TVM's virtual machine runs.

    Args:
        lowered: it.
        target: the device.
        watch: is shown a GPU's kernels.
    """
    with compiled_at_build(watch) if target.family == "cuda" else nullcontext():
        return machine_code(lowered.mod, target, lowered.in_integers)


def link(executable: Any, target: TargetDescription, linker: str | None = None) -> bytes:
    """Link an executable to a shared library for ``target``.

    Raises:
        ToolError: the linker is missing or failed, or there is no room for its files.
    """
    link_objects = link_function(target, linker)
    with temporary_folder("link") as folder:
        path = folder / "lib.so"
        export(executable, path, link_objects)
        return path.read_bytes()


def compile_module(
    mods: Sequence[Module],
    target: TargetDescription,
    signatures: Sequence[Signature],
    *,
    watch: Watch | None = None,
    tuned: Tuned | None = None,
    half: str | None = None,
    linker: str | None = None,
    race: Race | None = None,
) -> Library:
    """Compile Relax (float, or integer after ``realize``) for ``target``.

    A batch of several times the first one's samples runs the first one's kernels for each part of
    it, where samples stay apart: images stay in the caches, and threads take a part each. Where
    most of what is read are weights it has kernels of its own, which read them once.

    Args:
        mods: the module, NHWC, for each shape that the network is built for.
        target: the device; a GPU takes one shape.
        signatures: for each shape, names of the module's inputs and outputs.
        watch: called after each phase.
        tuned: gives schedules of tuning records.
        half: ``float16`` or ``bfloat16`` for the anchors' weights, None to leave them.
        linker: the linker's command line, None for the target's own.
        race: measures kernels of ``target`` where they run on this machine.

    Raises:
        ToolError: a tool of the build is missing or failed.
        ModelError: the network does something that no driver in C can.
    """
    lowering = partial(lower, target=target, watch=watch, tuned=tuned, half=half, race=race)
    first = lowering(mods[0])
    shapes: list[Lowered | int] = [first]
    for mod in mods[1:]:
        times = None if reads_mostly_weights(first) else times_as_many(mods[0], mod)
        shapes.append(times or lowering(mod))
    return compile_lowered(shapes, target, signatures, watch=watch, linker=linker)


def compile_lowered(
    shapes: Sequence[Lowered | int],
    target: TargetDescription,
    signatures: Sequence[Signature],
    *,
    watch: Watch | None = None,
    linker: str | None = None,
) -> Library:
    """The second half of :func:`compile_module`: from scheduled kernels to a library.

    ``shapes`` are those of :func:`tvmcomp.codegen.native.emit.emit`.
    """
    first = shapes[0]
    assert isinstance(first, Lowered)
    code = None
    if target.family == "cuda":
        constants = shared_constants([first.constants])
        binary = link(generate(first, target, watch), target, linker)
    else:
        native = emit(shapes, target, signatures, watch=watch)
        constants = native.constants
        binary = link_shared(native, target, linker)
        code = Code(native.kernels, native.driver)
    return Library(
        binary,
        code,
        constants.arrays,
        constants.shared_nbytes,
        first.sources,
        first.tasks,
        first.computed,
        # What keeps a loop's state between trips was scheduled as no task.
        {
            kernel: first.tasks[task]
            for kernel, task in first.tasks_of_kernels().items()
            if task in first.tasks
        },
        all(each.unaligned_inputs for each in shapes if not isinstance(each, int)),
        first.sparse,
    )


def run_here(
    mod: Module,
    here: TargetDescription,
    inputs: Sequence[np.ndarray],
    half: str | None = None,
    timed_runs: int = 0,
) -> tuple[list[np.ndarray], float]:
    """Compile ``mod`` for this machine and run it.

    Returns:
        The outputs, and the seconds of the fastest of ``timed_runs`` runs (0 without any): what
        else the machine does can only add to it.
    """
    allow_amx(here)
    lowered = lower(mod, here, half=half)
    vm = tvm.relax.VirtualMachine(generate(lowered, here), tvm.cpu())
    # np.ascontiguousarray would give a scalar a dimension.
    arrays = (np.asarray(x, order="C") for x in (*inputs, *lowered.constants))
    args = [tvm.runtime.tensor(array) for array in arrays]
    vm.set_input("main", *args)
    vm.invoke_stateful("main")
    outputs = vm.get_outputs("main")
    tensors = [outputs] if hasattr(outputs, "numpy") else list(outputs)
    results = [tensor.numpy() for tensor in tensors]
    seconds = 0.0
    if timed_runs:
        timer = vm.time_evaluator("invoke_stateful", tvm.cpu(), number=1, repeat=timed_runs)
        seconds = float(np.min(timer("main").results))
    return results, seconds
