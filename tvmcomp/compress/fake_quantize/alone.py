"""Weights by themselves: what each reads while all else is in float, and how it is rounded then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from tvmcomp.compress.fake_quantize import weights as roles
from tvmcomp.compress.fake_quantize.graph import Graph
from tvmcomp.compress.fake_quantize.lockstep import Lockstep, samples_that_fit
from tvmcomp.compress.fake_quantize.rows import mean_square
from tvmcomp.compress.fake_quantize.weights import GPTQ_ROLES, Weight
from tvmcomp.compress.network import TrainableNetwork
from tvmcomp.compress.samples import Sample
from tvmcomp.quantize.rounding.codes import nearest
from tvmcomp.quantize.rounding.gptq import gptq
from tvmcomp.quantize.rounding.weight_scales import weight_scales


@dataclass(frozen=True)
class Alone:
    """A weight of a float network.

    Attributes:
        weight: which.
        matrices: its values, [G, O, K].
        square: moments of its inputs, [G, K, K]; None where they are not known.
    """

    weight: Weight
    matrices: np.ndarray
    square: np.ndarray | None

    def on_grid(self, bits: int) -> tuple[np.ndarray, np.ndarray]:
        """Its codes [G, O, K] in even steps of so many bits, and what they stand for, as the weight
        is stored."""
        weight, matrices, square = self.weight, self.matrices, self.square
        diagonal = None if square is None else np.diagonal(square, axis1=-2, axis2=-1)
        scales = weight.scale_matrix(weight.shared_scale(weight_scales(matrices, bits, diagonal)))
        codes = (
            nearest(matrices, scales, bits)
            if square is None
            else gptq(matrices, square, scales, bits)
        )
        return codes, self.stored(codes * scales[..., None])

    def stored(self, matrices: np.ndarray) -> np.ndarray:
        """Matrices as the weight is stored, in float32."""
        return np.ascontiguousarray(self.weight.from_matrices(matrices), np.float32)


def weights_alone(
    model: onnx.ModelProto, weights: Sequence[Weight], fit: Sequence[Sample]
) -> Iterator[Alone]:
    """Each of ``weights`` of the float ``model``, with what it reads on ``fit``, in the order of
    the graph."""
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
            yield Alone(weight, weight.matrices(value), squares.get(weight.tensor))
