"""More values for the weights that few of them harm most, and fewer where they do least."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import onnx

from tvmcomp.compress.fake_quantize.bits import about, measure_costs, room_for
from tvmcomp.compress.fake_quantize.graph import Graph
from tvmcomp.compress.fake_quantize.measure import Yardstick
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.compress.samples import Parts

#: Samples that harm is measured with: each weight takes a run over them.
_MEASURED_WITH = 16
#: What a byte points at.
_MOST = 256


def spared(
    model: onnx.ModelProto,
    weights: Sequence[Weight],
    count: int,
    parts: Parts,
    step: Callable[[], None],
) -> dict[str, int]:
    """The values of each weight, by tensor: half, twice or four times ``count`` and so on by the
    harm that they do for their bytes, so that all together take about what ``count`` of each would.
    Harm is that of as many even steps, which falls as that of clusters does.

    Args:
        model: a prepared graph whose weights are constants of their operators.
        weights: of it.
        count: 2 to 256.
        parts: harm is fitted on ``fit`` and measured on ``watch``.
        step: is called after each weight.
    """
    if not weights or count >= _MOST:
        return {weight.tensor: count for weight in weights}
    yardstick = Yardstick(model, parts.watch[:_MEASURED_WITH])
    costs = measure_costs(model, weights, parts.fit, yardstick, step)
    start = int(math.log2(count))
    bits = about(costs, start, room_for(Graph(model), weights, start))
    return {tensor: min(_MOST, round(count * 2.0 ** (own - start))) for tensor, own in bits.items()}
