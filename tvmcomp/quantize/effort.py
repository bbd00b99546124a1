"""How much is measured when a network is quantized, by what a run of it costs.

All limits are counts, and follow from the network alone: the same samples give the same integers
on a busy machine as on an idle one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tvmcomp.passes.macs import macs
from tvmcomp.passes.rewriter import main_bindings, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module

relax = tvm.relax

#: Multiply-accumulates that take as long as what is done beside them for an element of a tensor, in
#: the instrumented network (0.4 to 1 ns of one core).
_MACS_PER_ELEMENT = 20
#: The same to count an element of a tensor in a histogram.
_MACS_PER_COUNT = 150
#: Cost of what each part of the work does with samples, all its runs together: half a minute of one
#: core each, or less (AVX2: 20 to 50 multiply-accumulates a ns).
_CALIBRATING_COST = _ROUNDING_COST = _RANKING_COST = _DECIDING_COST = 6e11
#: Samples that ranges are taken from, that channels are scaled by and that weights are rounded on.
_CALIBRATING_SAMPLES = 16, 10_000
_SCALING_SAMPLES = 8, 16
_ROUNDING_SAMPLES = 8, 64
#: Samples that rank the operators by harm, and held-out samples that decide what is good enough.
_RANKING_SAMPLES = 4, 16
_JUDGING_SAMPLES = 8, 64
#: Measurements that rank the operators, at least.
_FEWEST_RANKINGS = 16
#: Measurements that find how many of the ranked operators are kept.
_DECISIONS = 16
#: Those of the operators kept that are tried again in integers, at most.
_LOOKS = 24


@dataclass(frozen=True)
class Effort:
    """How many samples are used, and what the guard may measure.

    Attributes:
        calibrating: samples that ranges are taken from.
        scaling: samples that channels are scaled by.
        rounding: samples that weights are rounded on.
        judging: held-out samples that decide.
        ranking: samples that rank the operators.
        rankings: measurements for the ranking.
        looks: kept operators that are tried again in integers, at most.
        retrials: runs that this may take.
    """

    calibrating: int
    scaling: int
    rounding: int
    judging: int
    ranking: int
    rankings: int
    looks: int
    retrials: int


def run_cost(mod: Module) -> float:
    """What a run of the instrumented network takes, in multiply-accumulates."""
    bindings = main_bindings(mod) or []
    results = elements(binding.var for binding in bindings)
    return sum(macs(binding.value) for binding in bindings) + _MACS_PER_ELEMENT * results


def elements(tensors: Iterable[Expr]) -> float:
    """How many numbers ``tensors`` hold together; tuples don't count."""
    plain = (each for each in tensors if isinstance(each.ty, relax.TensorType))
    return float(sum(np.prod(shape_of(each), dtype=np.float64) for each in plain))


def effort_for(cost: float, counted: float, held_out: int, fitted: int, operators: int) -> Effort:
    """What is done for a network.

    Args:
        cost: of one run, as :func:`run_cost` says.
        counted: elements of the tensors whose ranges are wanted.
        held_out: samples that nothing was fitted on.
        fitted: the others.
        operators: how many can do harm.
    """
    cost = max(1.0, cost)
    counting = cost + _MACS_PER_COUNT * counted
    judging = min(held_out, _within(_DECIDING_COST / cost / (_DECISIONS + 2), _JUDGING_SAMPLES))
    ranking = min(fitted, _within(_RANKING_COST / cost / max(1, operators), _RANKING_SAMPLES))
    return Effort(
        calibrating=min(fitted, _within(_CALIBRATING_COST / counting, _CALIBRATING_SAMPLES)),
        scaling=min(fitted, _within(_CALIBRATING_COST / counting / 4, _SCALING_SAMPLES)),
        rounding=min(fitted, _within(_ROUNDING_COST / counting, _ROUNDING_SAMPLES)),
        judging=judging,
        ranking=ranking,
        rankings=max(_FEWEST_RANKINGS, int(_RANKING_COST / cost / ranking)),
        looks=_LOOKS,
        retrials=max(2 * judging, int(_DECIDING_COST / cost / 2)),
    )


def spread(samples: Sequence[list[np.ndarray]], count: int) -> list[list[np.ndarray]]:
    """``count`` samples, evenly spaced over all."""
    at = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)
    return [samples[i] for i in at]


def _within(count: float, limits: tuple[int, int]) -> int:
    return int(np.clip(count, *limits))
