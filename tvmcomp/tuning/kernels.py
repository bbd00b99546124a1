"""Tune the kernels of a network whose number formats are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from tvmcomp import targets
from tvmcomp.codegen.race import race_on
from tvmcomp.errors import ConfigError, LogError, TargetError
from tvmcomp.model import Model
from tvmcomp.passes.lowering.sparse_form import is_sparse
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.scheduled.schedule import schedulable
from tvmcomp.quantize.choice import PrecisionChoice
from tvmcomp.targets import TargetDescription
from tvmcomp.tuning.events import TuneSummary
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.network import baseline_network
from tvmcomp.tuning.options import TuneOptions
from tvmcomp.tuning.target_space import apply_baseline, target_space
from tvmcomp.tuning.task import Task
from tvmcomp.tuning.tuner import tune
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimFunc


def tune_kernels(
    model: Model,
    choice: PrecisionChoice,
    target: TargetDescription,
    log: TuningLog,
    options: TuneOptions,
    operators: Sequence[str] = (),
) -> TuneSummary:
    """Tune the kernels of ``choice`` whose names hold one of ``operators``; all where empty.

    Raises:
        ConfigError: no kernel has such a name.
    """
    lowered = lower(choice.mod, target, half=choice.half, race=race_on(target))
    runs = targets.runs_here(target) is None
    tasks = [
        Task(name, lowered.tasks[name], calls)
        for name, calls in lowered.calls.items()
        if _is_task(lowered.tasks[name]) and _chosen(name, operators)
    ]
    if operators and not tasks:
        raise ConfigError(
            f"no kernel of the network has a name with {' or '.join(map(repr, operators))} in it",
            hint=f"They are named like {', '.join(sorted(lowered.calls)[:3])}.",
        )
    options = replace(
        options,
        space=target_space(target),
        apply_baseline=partial(apply_baseline, target=target),
        network=partial(baseline_network, lowered, model, target, options.linker)
        if runs and target.family != "cuda"
        else None,
        in_integers=lowered.in_integers,
    )
    return tune(tasks, target, log, options)


def check_tunable(target: TargetDescription, device: str | None, log: TuningLog) -> None:
    """Raise TargetError where kernels for ``target`` can't be measured, LogError without a log."""
    if not log.stores:
        raise LogError("there is no log to write to", hint="Give a folder or a PATH.db.")
    reason = targets.runs_here(target)
    if device is None and reason is not None:
        raise TargetError(
            f"code for {target.name} does not run on this machine: {reason}",
            hint="Give the device to measure on with --device.",
        )


def _is_task(func: PrimFunc) -> bool:
    """Whether it is a kernel whose schedule matters: TVM makes mere reshapes views.

    A sparse one reads where its constants say: random ones can't take their place.
    """
    return (
        schedulable(func)
        and not tvm.relax.analysis.has_reshape_pattern(func)
        and not is_sparse(func)
    )


def _chosen(name: str, operators: Sequence[str]) -> bool:
    return not operators or any(text in name for text in operators)
