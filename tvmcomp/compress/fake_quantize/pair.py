"""Two networks side by side: one whose weights are changed, and the one that it was made of.

What a weight should be depends on what reaches it in the changed network, and on what reached it in
the other: second moments of both say so. What is still missing on average, the bias takes up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch

from tvmcomp.compress.fake_quantize import weights as roles
from tvmcomp.compress.fake_quantize.graph import Graph
from tvmcomp.compress.fake_quantize.lockstep import Lockstep
from tvmcomp.compress.fake_quantize.rows import rows_of, rows_wanted
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.compress.moments import centred
from tvmcomp.compress.network import TrainableNetwork
from tvmcomp.compress.operators.table import Node, Tensor
from tvmcomp.compress.samples import Sample

#: Roles of weights whose operator has a bias an output: a recurrent layer's goes into gates.
WITH_BIAS = frozenset([roles.CONVOLUTION, roles.TRANSPOSED, roles.PRODUCT])


@dataclass(frozen=True)
class JointMoments:
    """Of the inputs of a weight's columns: ``[G, K, K]``; about their means where the node has a
    bias that takes these up.

    Attributes:
        square: the mean of ``x x^T`` of the changed network's.
        drift: the mean of ``(y - x) x^T``, y being the real network's.
    """

    square: np.ndarray
    drift: np.ndarray


class Pair:
    """A network whose weights are changed, and the one that it was made of.

    Attributes:
        graph: of the changed network.
        changed, real: the two, as far as they have run.
        parameters: of the changed one, by their names in the graph.
    """

    def __init__(
        self, changed: onnx.ModelProto, reference: onnx.ModelProto, samples: Sequence[Sample]
    ) -> None:
        self.graph = Graph(changed)
        self.changed = Lockstep(TrainableNetwork(changed), samples)
        self.real = Lockstep(TrainableNetwork(reference), samples)
        self.at = {node.name: i for i, node in enumerate(self.real.network.nodes)}
        self.ahead: set[str] = set()
        self.parameters = self.changed.network.weights()

    def run(self, index: int) -> None:
        """The next node of both; one of FakeQuantize is only in the changed network."""
        node = self.changed.network.nodes[index]
        self.changed.run(index)
        if node.name in self.at and node.name not in self.ahead:
            self.real.run(self.at[node.name])

    def run_ahead(self, node: Node) -> bool:
        """Run a recurrent layer of the real network; False where it does not give its states."""
        states = node.outputs[0]
        if states:
            self.real.keep(states)
            self.real.run(self.at[node.name])
            self.ahead.add(node.name)
        return bool(states)

    def data(self, weight: Weight, node: Node) -> Iterator[tuple[Tensor, Tensor]]:
        """What the weight is multiplied by in the changed and in the real network; a layer's
        states are known of the latter."""
        if weight.role == roles.STATE:
            return ((each, each) for each in self.real.tensor(node.outputs[0]))
        source = self.real.network.nodes[self.at[node.name]].inputs[0]
        return zip(self.changed.tensor(node.inputs[0]), self.real.tensor(source), strict=True)

    def moments(self, weight: Weight, node: Node) -> JointMoments:
        """Of what ``node`` multiplies by ``weight``, in the next run of both."""
        portions = len(self.changed.portions)
        count = max(1, rows_wanted(weight) // portions)
        squares, crosses, means, shifts, rows = [], [], [], [], 0
        about_mean = self.bias(weight, node) is not None  # The bias takes up what the means do.
        origin: Tensor | None = None
        for seed, (rounded, real) in enumerate(self.data(weight, node)):
            x, y = (rows_of(weight, node, each, count, seed) for each in (rounded, real))
            off = y - x
            if about_mean:
                origin = x[:, :1] if origin is None else origin
                x = x - origin
            squares.append(x.mT @ x)
            crosses.append(off.mT @ x)
            means.append(x.sum(1))
            shifts.append(off.sum(1))
            rows += x.shape[1]
        square, cross, mean, shift = (
            (torch.stack(each).sum(0) / rows).double().numpy()
            for each in (squares, crosses, means, shifts)
        )
        if about_mean:
            square = centred(square, mean)
            cross -= shift[:, :, None] * mean[:, None, :]
        return JointMoments(square, cross)

    def bias(self, weight: Weight, node: Node) -> torch.nn.Parameter | None:
        """The bias of a node that is its own, has a number for each output, and counts once."""
        name = self.graph.bias_of(node.proto)
        if name not in self.parameters or len(self.graph.readers[name]) != 1:
            return None
        outputs = weight.scales * (weight.groups if weight.role == roles.TRANSPOSED else 1)
        fits = weight.role in WITH_BIAS and self.parameters[name].numel() == outputs
        plain = node.operator != "Gemm" or node.get("beta", 1.0) == 1.0
        return self.parameters[name] if fits and plain else None

    def correct_bias(self, weight: Weight, node: Node) -> None:
        """Let the bias take up the mean error of the results that just were computed."""
        bias = self.bias(weight, node)
        if bias is None:
            return
        axis = 1 if weight.role in (roles.CONVOLUTION, roles.TRANSPOSED) else -1
        result = node.outputs[0]
        errors = []
        for rounded, real in zip(
            self.changed.tensor(result), self.real.tensor(result), strict=True
        ):
            error = real - rounded
            place = axis + 1 if axis > 0 else error.ndim - 1
            others = [i for i in range(1, error.ndim) if i != place]
            errors.append(error.mean(others) if others else error)
        change = _sure_mean(torch.cat(errors))
        with torch.no_grad():
            bias += change.reshape(bias.shape)
        if self.graph.bias_of(node.proto) in node.inputs:
            along = [-1 if i == axis % (error.ndim - 1) else 1 for i in range(error.ndim - 1)]
            self.changed.add(result, change.reshape(along))


#: Share of the mean square of a weight's inputs below which their drift is not made up for.
_RIDGE = 0.1


def made_up(matrices: np.ndarray, moments: JointMoments) -> np.ndarray:
    """The change of the weights that makes up for their inputs' drift, by least squares."""
    square = moments.square
    size = square.shape[-1]
    mean = np.trace(square, axis1=-2, axis2=-1)[..., None, None] / size
    ridge = _RIDGE * mean * np.eye(size) + np.finfo(np.float64).tiny * np.eye(size)
    return np.linalg.solve(square + ridge, (matrices @ moments.drift).swapaxes(-1, -2)).swapaxes(
        -1, -2
    )


def _sure_mean(samples: Tensor) -> Tensor:
    """The mean of ``[samples, C]``, less where it may be chance: by the share of its square that
    its variance does not explain."""
    mean = samples.mean(0)
    if len(samples) < 2:
        return mean
    chance = samples.var(0) / len(samples)
    return mean * torch.clamp(1 - chance / mean.square().clamp(min=1e-30), min=0)
