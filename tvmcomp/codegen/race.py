"""Run two modules that compute the same, in turns on this machine: which is faster."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tvmcomp import targets
from tvmcomp.codegen.compile import generate
from tvmcomp.passes.lowering.sparse_form import Race
from tvmcomp.passes.pipeline import lower
from tvmcomp.runtime.amx_permission import allow_amx
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module

#: Seconds that a turn takes at least, and all turns together at most, about.
_TURN, _ALL = 3e-4, 0.1
_FEWEST_TURNS, _MOST_TURNS = 5, 50


def race_on(target: TargetDescription) -> Race | None:
    """Races kernels of ``target``, where they run on this machine."""
    runs = target.family != "cuda" and targets.runs_here(target) is None
    return partial(race, here=target) if runs else None


def race(first: Module, second: Module, here: TargetDescription) -> float:
    """How many times faster ``second`` is: the fastest turn of each, as what else the machine does
    can only add to it.

    Args:
        first, second: modules whose ``main`` takes one tensor; ``second``'s may be smaller.
        here: this machine, or what it runs.
    """
    allow_amx(here)
    runs = [_run(mod, here) for mod in (first, second)]
    seconds = [_timed(run, 1) for run in runs for _ in range(2)][1::2]
    counts = [max(1, math.ceil(_TURN / max(each, 1e-7))) for each in seconds]
    round_seconds = sum(n * each for n, each in zip(counts, seconds, strict=True))
    turns = min(_MOST_TURNS, max(_FEWEST_TURNS, int(_ALL / round_seconds)))
    best = [math.inf, math.inf]
    for _ in range(turns):
        for i, (run, count) in enumerate(zip(runs, counts, strict=True)):
            best[i] = min(best[i], _timed(run, count))
    return best[0] / best[1]


def _run(mod: Module, here: TargetDescription) -> Callable[[], Any]:
    """A call of ``mod`` on data that are not all zero."""
    data = mod["main"].params[0].ty
    shape, dtype = [int(size) for size in data.shape], str(data.dtype)
    lowered = lower(mod, here)
    vm = tvm.relax.VirtualMachine(generate(lowered, here), tvm.cpu())
    arrays = (np.ones(shape, dtype), *lowered.constants)
    vm.set_input("main", *(tvm.runtime.tensor(array) for array in arrays))
    return lambda: vm.invoke_stateful("main")


def _timed(run: Callable[[], Any], count: int) -> float:
    """Seconds of one of ``count`` calls."""
    begin = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - begin) / count
