"""How many bits each weight is worth: harm per byte, measured.

The harm of a weight is the noise at the network's outputs with it alone rounded, by GPTQ, to few
bits. Noise adds up, about, and falls to a quarter with each bit more; a byte saved counts as it is
stored, by the entropy of the codes. From there the choice is greedy: what saves most bytes for its
harm goes first. Nothing is drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.fake_quantize import weights as roles
from tvmcomp.compress.fake_quantize.graph import Graph
from tvmcomp.compress.fake_quantize.lockstep import Lockstep, samples_that_fit
from tvmcomp.compress.fake_quantize.measure import Yardstick
from tvmcomp.compress.fake_quantize.rows import mean_square
from tvmcomp.compress.fake_quantize.weights import GPTQ_ROLES, Weight
from tvmcomp.compress.network import TrainableNetwork
from tvmcomp.compress.samples import Sample
from tvmcomp.quantize.rounding.codes import nearest
from tvmcomp.quantize.rounding.gptq import gptq
from tvmcomp.quantize.rounding.weight_scales import weight_scales

#: What a weight may have where a goal decides.
CHOICES = (8, 6, 5, 4, 3)
#: Of a weight whose harm is measured: few, so that the harm is well above that of nothing.
_MEASURED_BITS = 4
#: Noise of one bit less is so many times as large.
_A_BIT = 4.0
#: Share of the bytes of all weights that those may take more which get more bits.
_SPARE = 0.05
#: Of the noise that is left, the share below which more bits for a weight are not worth it.
_WORTH = 0.01


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
        return float(self.noise * _A_BIT ** (_MEASURED_BITS - bits))

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
    for weight, codes, rounded in _rounded_alone(model, weights, fit):
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


def _rounded_alone(
    model: onnx.ModelProto, weights: Sequence[Weight], fit: Sequence[Sample]
) -> Iterator[tuple[Weight, np.ndarray, np.ndarray]]:
    """Each weight, its codes, and what these stand for, with all else in float."""
    graph = Graph(model)
    running = Lockstep(TrainableNetwork(model), fit[: samples_that_fit(model, 1)])
    by_node: dict[str, list[Weight]] = {}
    for weight in weights:
        by_node.setdefault(weight.node, []).append(weight)
    for index, node in enumerate(running.network.nodes):
        squares = {}
        for weight in by_node.get(node.name, ()):
            if weight.role in GPTQ_ROLES and weight.role != roles.STATE:
                data = running.tensor(node.inputs[0])
                squares[weight.tensor] = mean_square(weight, node, data)
            elif weight.role == roles.STATE:
                running.keep(node.outputs[0])
        running.run(index)
        for weight in by_node.get(node.name, ()):
            if weight.role == roles.STATE and node.outputs[0]:
                states = running.tensor(node.outputs[0])
                squares[weight.tensor] = mean_square(weight, node, states)
            value = graph.constant(weight.tensor)
            assert value is not None
            matrices = weight.matrices(value)
            yield (weight, *_on_grid(weight, matrices, squares.get(weight.tensor)))


def _on_grid(
    weight: Weight, matrices: np.ndarray, square: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    bits = _MEASURED_BITS
    diagonal = None if square is None else np.diagonal(square, axis1=-2, axis2=-1)
    scales = weight.scale_matrix(weight.shared_scale(weight_scales(matrices, bits, diagonal)))
    codes = (
        nearest(matrices, scales, bits) if square is None else gptq(matrices, square, scales, bits)
    )
    whole = weight.from_matrices(codes * scales[..., None])
    return codes, np.ascontiguousarray(whole, np.float32)


def spare_harmful(costs: Mapping[str, Cost], bits: int) -> dict[str, int]:
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
                steps.append((-_harm_a_byte(cost, now, then), name, then))
        if not steps:
            return chosen
        _, name, then = min(steps)
        room -= costs[name].bytes_at(then) - costs[name].bytes_at(chosen[name])
        noise -= costs[name].noise_at(chosen[name]) - costs[name].noise_at(then)
        chosen[name] = then


def descents(costs: Mapping[str, Cost], fixed: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Bits for all weights: 8 at first, then a weight at a time fewer, that which does the least
    harm a byte; ``fixed`` ones stay."""
    chosen = {name: fixed.get(name, 8) for name in costs}
    yield dict(chosen)
    while True:
        steps = [
            (_harm_a_byte(costs[name], fewer, bits), name, fewer)
            for name, bits in chosen.items()
            if name not in fixed
            for fewer in [max((b for b in CHOICES if b < bits), default=0)]
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
