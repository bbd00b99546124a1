"""The integers of a network's weights, by what they do to each operator's results on samples.

GPTQ (:mod:`tvmcomp.quantize.rounding.gptq`) on rows of each anchor's rounded data, and bias
correction after it. Weights that several operators share, and those of anchors too wide for the
time that this may take, keep the nearest integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tvmcomp.progress import Progress
from tvmcomp.qparams import QParams, quantize
from tvmcomp.quantize.anchor_data import from_matrices, row_count, rows_of, to_matrices
from tvmcomp.quantize.planned_operator import PlannedOperator
from tvmcomp.quantize.probe import Probe
from tvmcomp.quantize.rounded_weight import RoundedWeight, nearest_weight
from tvmcomp.quantize.rounding.bias_correction import bias_correction
from tvmcomp.quantize.rounding.gptq import gptq
from tvmcomp.tvm_types import Var

#: Rows of an anchor, all samples together: twice as many as it has inputs, within these limits, and
#: fewer where they would take too long.
_FEWEST_ROWS, _MOST_ROWS = 1024, 8192
#: Multiply-accumulates of all anchors' rounding together: about a quarter of a minute on one core.
_MOST_MACS = 4e11
_BITS = 8


@dataclass
class _Rows:
    """What one anchor reads, at some positions.

    Attributes:
        count: positions, all samples together.
        codes: the integers there, [G, R, K], of each sample.
        total: the sum of the float values there, [G, K].
    """

    count: int
    codes: list[np.ndarray] = field(default_factory=list)
    total: np.ndarray | float = 0.0


def round_weights(
    probe: Probe,
    qparams: Mapping[Var, QParams],
    samples: Sequence[list[np.ndarray]],
    progress: Progress,
) -> dict[str, RoundedWeight]:
    """Integers for the weights of a network, each with the correction of its bias.

    Args:
        probe: the instrumented network.
        qparams: the parameters of what its anchors read.
        samples: its inputs, a sample at a time.
        progress: is told of the reading of data, and of the rounding.

    Returns:
        By the operator's name; what is missing has no better integers than the nearest.
    """
    anchors = [op for op in probe.operators if op.is_anchor and not probe.shares_weight(op)]
    shapes = {op.name: _matrices(probe, op).shape for op in anchors}
    rows = {name: _Rows(count) for name, count in affordable_rows(shapes).items()}
    anchors = [operator for operator in anchors if operator.name in rows]
    step = progress.stage("reading what weights multiply", len(samples))
    for number, inputs in enumerate(samples):
        _, observed = probe.run(inputs)
        for at, operator in enumerate(anchors):
            rng = np.random.default_rng((number, at))
            _collect(probe, operator, observed, qparams, rows[operator.name], len(samples), rng)
        step()
    found = {}
    step = progress.stage("rounding weights", len(anchors))
    for operator in anchors:
        found[operator.name] = _rounded(probe, operator, qparams, rows.pop(operator.name))
        step()
    return found


def affordable_rows(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """How many rows of each anchor's data are used, by its name; none of those too wide.

    Args:
        shapes: the weights' [G, O, K].
    """
    # A factor of the Hessian, and the errors of the outputs carried over and judged.
    fixed = {
        name: groups * (inputs**3 / 3 + 2 * outputs * inputs**2)
        for name, (groups, outputs, inputs) in shapes.items()
    }
    wanted = {
        name: int(np.clip(2 * inputs, _FEWEST_ROWS, _MOST_ROWS))
        for name, (_, _, inputs) in shapes.items()
    }
    square = {name: groups * inputs**2 for name, (groups, _, inputs) in shapes.items()}
    kept = sorted(shapes, key=lambda name: fixed[name])
    while kept:
        left = _MOST_MACS - sum(fixed[name] for name in kept)
        share = left / max(1, sum(wanted[name] * square[name] for name in kept))
        if all(share * wanted[name] >= _FEWEST_ROWS for name in kept[-1:]):
            return {name: max(_FEWEST_ROWS, int(wanted[name] * min(1, share))) for name in kept}
        kept.pop()
    return {}


def _matrices(probe: Probe, operator: PlannedOperator) -> np.ndarray:
    return to_matrices(probe.call_of(operator), probe.weight(operator))


def _collect(
    probe: Probe,
    operator: PlannedOperator,
    observed: Mapping[Var, np.ndarray],
    qparams: Mapping[Var, QParams],
    rows: _Rows,
    samples: int,
    rng: np.random.Generator,
) -> None:
    """Add rows of what ``operator`` read in one run."""
    call, tensor = probe.call_of(operator), operator.reads[0]
    data = np.asarray(observed[tensor])
    there = row_count(call, data)
    count = min(there, -(-rows.count // samples))
    chosen = np.sort(rng.choice(there, count, replace=False))
    found = rows_of(call, data, 0.0, chosen)
    rows.codes.append(quantize(found, qparams[tensor]))
    rows.total = rows.total + found.sum(axis=1, dtype=np.float64)


def _rounded(
    probe: Probe, operator: PlannedOperator, qparams: Mapping[Var, QParams], rows: _Rows
) -> RoundedWeight:
    call, weight = probe.call_of(operator), _matrices(probe, operator)
    nearest = nearest_weight(probe.weight(operator), operator)
    data = qparams[operator.reads[0]]
    codes = np.concatenate(rows.codes, axis=1)
    whole = codes.astype(np.float32) - np.float32(data.zero_point)
    hessian = np.swapaxes(whole, 1, 2) @ whole
    scale = nearest.params.scale.reshape(weight.shape[:-1])
    matrices = gptq(weight, hessian, scale, _BITS)
    rounded = matrices * scale[..., None]
    rounded_mean = whole.mean(axis=1, dtype=np.float64) * float(data.scale)
    correction = bias_correction(weight, rounded, rows.total / codes.shape[1], rounded_mean)
    return RoundedWeight(from_matrices(call, matrices), nearest.params, correction.reshape(-1))
