"""More values for the few weights that few of them harm most."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import onnx

from tvmcomp.compress.fake_quantize.bits import CHOICES, Cost, measure_costs, total_bytes
from tvmcomp.compress.fake_quantize.measure import Yardstick
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.compress.samples import Parts

#: Samples that harm is measured with: each weight takes a run over them.
_MEASURED_WITH = 16
#: What a byte points at.
_MOST = 256
#: Share of the bytes of all weights that those may take more which get more values.
_SPARE = 0.05
#: Of the harm that is left, the share below which more values for a weight are not worth it.
_WORTH = 0.01


def spared(
    model: onnx.ModelProto,
    weights: Sequence[Weight],
    count: int,
    parts: Parts,
    step: Callable[[], None],
) -> dict[str, int]:
    """The values of each weight, by tensor: ``count``, more of those that do much harm for few
    bytes. Harm is that of as many even steps, which falls as that of clusters does.

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
    bits = _more_for_harmful(costs, start)
    return {tensor: min(_MOST, count * 2 ** (own - start)) for tensor, own in bits.items()}


def _more_for_harmful(costs: Mapping[str, Cost], bits: int) -> dict[str, int]:
    """``bits`` for all, but more for those that do much harm for few bytes, a step at a time."""
    chosen = dict.fromkeys(costs, bits)
    noise = sum(cost.noise_at(bits) for cost in costs.values())
    room = _SPARE * total_bytes(costs, chosen)
    while True:
        steps = []
        for name, now in chosen.items():
            cost, then = costs[name], min((b for b in CHOICES if b > now), default=now)
            more = cost.bytes_at(then) - cost.bytes_at(now)
            gain = cost.noise_at(now) - cost.noise_at(then)
            if more <= room and gain > _WORTH * noise:
                steps.append((-gain / max(more, 1e-9), name, then))
        if not steps:
            return chosen
        _, name, then = min(steps)
        room -= costs[name].bytes_at(then) - costs[name].bytes_at(chosen[name])
        noise -= costs[name].noise_at(chosen[name]) - costs[name].noise_at(then)
        chosen[name] = then
