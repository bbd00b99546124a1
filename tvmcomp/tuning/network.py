"""The network that kernels are measured in: alone, they find other tensors and other caches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.codegen.native.emit import emit
from tvmcomp.codegen.native.link import link_kernels, link_replaceable
from tvmcomp.model import Model
from tvmcomp.passes.lowered import Lowered
from tvmcomp.passes.pipeline import rescheduled
from tvmcomp.targets import TargetDescription

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.tirx import PrimFunc

#: What the network is called in C, so that its library shows the variables of its kernels.
_NAME = "tvmcomp_tuned"


@dataclass(frozen=True)
class Network:
    """A network of baselines: without tuning.

    Attributes:
        artifact: it, built; but its library has no kernels, and a variable for each.
        library: of its kernels.
        kernels: kernel -> the task that it was scheduled as.
        rescheduled: the kernels that it would have with other schedules of some tasks, by task.
    """

    artifact: Artifact
    library: bytes
    kernels: Mapping[str, str]
    rescheduled: Callable[[Mapping[str, PrimFunc]], IRModule]


def baseline_network(
    lowered: Lowered, model: Model, target: TargetDescription, linker: str | None = None
) -> Network:
    """Build ``lowered``, which no tuning record has scheduled.

    Args:
        lowered: the network.
        model: what it was imported as.
        target: the device.
        linker: the linker's command line, None for the target's own.

    Raises:
        ModelError: the network does something that no driver in C can.
        ToolError: the linker is missing or failed.
    """
    code = emit([lowered], target, [model.signature], _NAME, replaceable=True)
    artifact = Artifact.create(
        library=link_replaceable(code.driver, target, linker),
        constants={f"constant_{i}": array for i, array in enumerate(lowered.constants)},
        target=target,
        signature=model.signature,
        source=model.source,
        source_digest=model.digest,
        unaligned_inputs=lowered.unaligned_inputs,
    )
    library = link_kernels(code.kernels, target, linker)
    return Network(artifact, library, lowered.tasks_of_kernels(), partial(rescheduled, lowered))
