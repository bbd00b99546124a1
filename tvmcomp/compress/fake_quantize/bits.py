"""How many bits each weight is worth: harm per byte, measured.

The harm of a weight is the noise at the network's outputs with it alone rounded, by GPTQ, to few
bits. Noise adds up, about, and falls with the square of the number of steps; a byte saved counts as
it is stored, by the entropy of the codes. From there the choice is greedy: what saves most bytes
for its harm goes first. Nothing is drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import TensorProto

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.fake_quantize.alone import weights_alone
from tvmcomp.compress.fake_quantize.graph import Graph, kind_of
from tvmcomp.compress.fake_quantize.measure import Yardstick
from tvmcomp.compress.fake_quantize.operator_kinds import CONVOLUTIONS
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.compress.samples import Sample
from tvmcomp.quantize.rounding.codes import largest_code

#: What a weight may have where a goal of size or loss decides.
CHOICES = (8, 6, 5, 4, 3)
#: Below this the noise of a weight is no longer what is said of it here.
_FEWEST_CHOSEN = 3
#: Of a weight whose harm is measured: few, so that the harm is well above that of nothing.
_MEASURED_BITS = 4
#: Of the bytes that N bits a weight are, the most that scales and biases are made room for in.
_BESIDE = 0.2
#: Bytes that go with an output, its scale and the correction of its sum, and those of another
#: constant, when coded.
_AN_OUTPUT, _A_CONSTANT = 3, 2


@dataclass(frozen=True)
class Cost:
    """What a weight costs in a number of bits.

    Attributes:
        noise: at the outputs, as a share of their variance, with ``_MEASURED_BITS``.
        entropy: of its codes then, in bits a weight.
        count: of its elements.
    """

    noise: float
    entropy: float
    count: int

    def noise_at(self, bits: int) -> float:
        """The noise with other bits."""
        steps = largest_code(_MEASURED_BITS) / largest_code(bits)
        return float(self.noise * steps**2)

    def bytes_at(self, bits: int) -> float:
        """The bytes of its codes with other bits: each of them is worth a bit, up to a point."""
        return self.count * max(self.entropy + bits - _MEASURED_BITS, self.entropy / 2) / 8


def measure_costs(
    model: onnx.ModelProto,
    weights: Sequence[Weight],
    fit: Sequence[Sample],
    yardstick: Yardstick,
    step: Callable[[], None] = lambda: None,
) -> dict[str, Cost]:
    """The cost of each weight of the float ``model``.

    Args:
        model: a prepared graph.
        weights: of it.
        fit: samples that the codes are fitted on.
        yardstick: measures the noise, on others.
        step: is called after each weight.
    """
    costs = {}
    network = BatchedNetwork(model, yardstick.samples)
    for alone in weights_alone(model, weights, fit):
        weight = alone.weight
        codes, rounded = alone.on_grid(_MEASURED_BITS)
        parameter = network.network.weights()[weight.tensor]
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(rounded))
            noise = yardstick.noise(network)
            parameter.copy_(kept)
        costs[weight.tensor] = Cost(noise, entropy(codes), codes.size)
        step()
    return {weight.tensor: costs[weight.tensor] for weight in weights}


def entropy(codes: np.ndarray) -> float:
    """Bits a code, coded without regard to its neighbours."""
    counts = np.unique(codes, return_counts=True)[1] / max(codes.size, 1)
    return float(-(counts * np.log2(counts)).sum())


def room_for(graph: Graph, weights: Sequence[Weight], bits: int) -> float:
    """The bytes that the codes of ``weights`` may take, so that with the scales and with the other
    constants of ``graph`` they take about ``bits`` a weight."""
    whole = sum(math.prod(weight.shape) for weight in weights) * bits / 8
    beside = _AN_OUTPUT * sum(weight.scales for weight in weights)
    rounded = {weight.tensor for weight in weights}
    for tensor in graph.model.graph.initializer:
        readers = [node for node in graph.readers.get(tensor.name, ()) if node is not None]
        # A bias becomes the correction of a sum.
        is_bias = all(kind_of(node) in CONVOLUTIONS | {"Gemm"} for node in readers)
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in rounded and not is_bias:
            beside += _A_CONSTANT * math.prod(tensor.dims)
    return whole - min(beside, _BESIDE * whole)


def about(costs: Mapping[str, Cost], bits: int, room: float) -> dict[str, int]:
    """About ``bits`` for each weight: one fewer where that does the least harm, and more where it
    does the most, so that all fit into ``room`` bytes if they can."""
    fewest = min(bits, max(_FEWEST_CHOSEN, bits - 1))
    choices = sorted({c for c in (*CHOICES, bits) if c >= fewest} | {fewest}, reverse=True)
    chosen = dict.fromkeys(costs, bits)
    for chosen in descents(costs, {}, choices):
        if total_bytes(costs, chosen) <= room:
            break
    # The last step may have been a large one.
    while True:
        left = room - total_bytes(costs, chosen)
        steps = [
            (_harm_a_byte(costs[name], now, more), name, more)
            for name, now in chosen.items()
            for more in [min((c for c in choices if c > now), default=now)]
            if more > now and costs[name].bytes_at(more) - costs[name].bytes_at(now) <= left
        ]
        if not steps:
            return chosen
        _, name, more = max(steps)
        chosen[name] = more


def descents(
    costs: Mapping[str, Cost], fixed: Mapping[str, int], choices: Sequence[int] = CHOICES
) -> Iterator[dict[str, int]]:
    """Bits for all weights: 8 at first, then a weight at a time fewer of ``choices``, that which
    does the least harm a byte; ``fixed`` ones stay."""
    chosen = {name: fixed.get(name, 8) for name in costs}
    yield dict(chosen)
    while True:
        steps = [
            (_harm_a_byte(costs[name], fewer, bits), name, fewer)
            for name, bits in chosen.items()
            if name not in fixed
            for fewer in [max((b for b in choices if b < bits), default=0)]
            if fewer
        ]
        if not steps:
            return
        _, name, fewer = min(steps)
        chosen[name] = fewer
        yield dict(chosen)


def total_bytes(costs: Mapping[str, Cost], chosen: Mapping[str, int]) -> float:
    """The bytes of all weights' codes."""
    return sum(costs[name].bytes_at(bits) for name, bits in chosen.items())


def _harm_a_byte(cost: Cost, fewer: int, bits: int) -> float:
    saved = cost.bytes_at(bits) - cost.bytes_at(fewer)
    return (cost.noise_at(fewer) - cost.noise_at(bits)) / max(saved, 1e-9)
