"""How tasks are tuned: what :func:`tvmcomp.tuning.tuner.tune` can be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvmcomp.tuning.events import Listener
from tvmcomp.tuning.network import Network
from tvmcomp.tuning.space import Space, WholeKernels

if TYPE_CHECKING:
    from tvm.s_tir import Schedule


@dataclass(frozen=True)
class TuneOptions:
    """Limits of a run, where it builds and measures, and what the tasks are a part of.

    Attributes:
        trials: candidates of each task, the baseline included; None for as many as are worth it.
        budget: seconds that the run may take, about; None for no limit.
        device: what to measure on, see :class:`~tvmcomp.tuning.jobs.Measure`.
        builders: see :func:`tvmcomp.tuning.builders.open_builders`.
        linker: the linker's command line, None for the target's own.
        more: search again where the log says that a search has finished.
        seed: of the searches' random choices.
        progress: is told what happens.
        space: our schedules' design space; MetaSchedule's rules serve where it has none.
        apply_baseline: schedules a kernel as a build without records does, or returns the kernel
            that takes its place; None for plain loops.
        network: makes the network that the tasks are of, if it can be run on this machine; without
            it, and on a device, each kernel is measured alone.
        in_integers: see :func:`tvmcomp.codegen.code_target.code_target`.
        runner: what is put before programs on a device with a shell.
    """

    trials: int | None = None
    budget: float | None = None
    device: str | None = None
    builders: str | None = None
    linker: str | None = None
    more: bool = False
    seed: int = 0
    progress: Listener | None = None
    space: Space | WholeKernels | None = None
    apply_baseline: Callable[[Schedule], object] | None = None
    network: Callable[[], Network] | None = None
    in_integers: bool = False
    runner: str | None = None
