"""How much is measured when a network is quantized, by what a run of it costs.

All limits are counts, and follow from the network alone: the same samples give the same integers
on a busy machine as on an idle one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tvmcomp.passes.macs import macs
from tvmcomp.passes.rewriter import main_bindings, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module

relax = tvm.relax

#: Multiply-accumulates that take as long as it takes to write an element, read it again and round
#: it in between, in the instrumented network (Zen 4: 0.4 ns of one core).
_MACS_PER_ELEMENT = 20
#: Cost of all the runs that rank the operators together, and of those that decide which of them
#: are kept: about 20 seconds of one core each.
_RANKING_COST = _DECIDING_COST = 1e12
#: Samples that rank the operators by harm, and held-out samples that decide what is good enough.
_RANKING_SAMPLES = 4, 16
_JUDGING_SAMPLES = 8, 64
#: Measurements that rank the operators, at least.
_FEWEST_RANKINGS = 16
#: Measurements that find how many of the ranked operators are kept, and how many of those kept are
#: tried again in integers.
_DECISIONS = 16
_LOOKS = 2, 24


@dataclass(frozen=True)
class Effort:
    """What the guard may measure.

    Attributes:
        judging: held-out samples that decide.
        ranking: samples that rank the operators.
        rankings: measurements for the ranking.
        looks: kept operators that are tried again in integers.
    """

    judging: int
    ranking: int
    rankings: int
    looks: int


def run_cost(mod: Module) -> float:
    """What a run of the instrumented network takes, in multiply-accumulates."""
    bindings = main_bindings(mod) or []
    tensors = [binding.var for binding in bindings if isinstance(binding.var.ty, relax.TensorType)]
    elements = sum(float(np.prod(shape_of(var))) for var in tensors)
    return sum(macs(binding.value) for binding in bindings) + _MACS_PER_ELEMENT * elements


def guard_effort(cost: float, held_out: int, fitted: int, operators: int) -> Effort:
    """What the guard measures of a network.

    Args:
        cost: of one run, as :func:`run_cost` says.
        held_out: samples that nothing was fitted on.
        fitted: the others.
        operators: how many can do harm.
    """
    cost = max(1.0, cost)
    judging = min(
        held_out, _within(_DECIDING_COST / cost / (_DECISIONS + _LOOKS[1]), _JUDGING_SAMPLES)
    )
    ranking = min(fitted, _within(_RANKING_COST / cost / max(1, operators), _RANKING_SAMPLES))
    return Effort(
        judging,
        ranking,
        rankings=max(_FEWEST_RANKINGS, int(_RANKING_COST / cost / ranking)),
        looks=_within(_DECIDING_COST / cost / judging - _DECISIONS, _LOOKS),
    )


def spread(samples: Sequence[list[np.ndarray]], count: int) -> list[list[np.ndarray]]:
    """``count`` samples, evenly spaced over all."""
    at = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)
    return [samples[i] for i in at]


def _within(count: float, limits: tuple[int, int]) -> int:
    return int(np.clip(count, *limits))
