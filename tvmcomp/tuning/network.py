"""The network that kernels are measured in: alone, they find other tensors and other caches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvmcomp.artifact import Artifact

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.tirx import PrimFunc


@dataclass(frozen=True)
class Network:
    """A network without tuning.

    Attributes:
        artifact: it, built.
        kernels: kernel -> the task that it was scheduled as.
        rescheduled: the kernels that it would have with other schedules of some tasks, by task.
    """

    artifact: Artifact
    kernels: Mapping[str, str]
    rescheduled: Callable[[Mapping[str, PrimFunc]], IRModule]
