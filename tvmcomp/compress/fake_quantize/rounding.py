"""Codes for the weights of a fake-quantized network, one layer after the other.

The quantized network and the float one run side by side over the samples. At each operator with a
weight the codes are chosen by GPTQ for the rounded data that reach it there, rounding errors of all
layers before included; then its bias takes up the mean of what is still missing (Nagel et al.,
"Data-Free Quantization Through Weight Equalization and Bias Correction", arXiv:1906.04721, with
means of samples in place of estimated ones). One pass, and each layer is left on its grid: the
float weight becomes ``code * scale``, from where training goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch

from tvmcomp.compress.fake_quantize import weights as roles
from tvmcomp.compress.fake_quantize.graph import Graph, kind_of
from tvmcomp.compress.fake_quantize.lockstep import Lockstep, samples_that_fit
from tvmcomp.compress.fake_quantize.rows import rows_of, rows_wanted
from tvmcomp.compress.fake_quantize.weights import GPTQ_ROLES, Weight
from tvmcomp.compress.network import TrainableNetwork
from tvmcomp.compress.operators.fake_quantize import FAKE_QUANTIZE
from tvmcomp.compress.operators.table import Node, Tensor
from tvmcomp.compress.samples import Sample
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN
from tvmcomp.quantize.rounding.gptq import gptq
from tvmcomp.quantize.rounding.weight_scales import weight_scales


@dataclass(frozen=True)
class _Moments:
    """Of the inputs of a weight's columns: ``[G, K, K]``; about their means where the node has a
    bias that takes these up.

    Attributes:
        rounded: the mean of ``x x^T`` of the quantized network's.
        drift: the mean of ``(y - x) x^T``, y being the float network's.
    """

    rounded: np.ndarray
    drift: np.ndarray


def round_weights(
    quantized: onnx.ModelProto,
    reference: onnx.ModelProto,
    weights: Sequence[Weight],
    samples: Sequence[Sample],
    step: Callable[[], None] = lambda: None,
) -> onnx.ModelProto:
    """``quantized`` with better codes for ``weights``, and biases to go with them.

    Args:
        quantized: a graph with FakeQuantize.
        reference: the float graph that it was made of.
        weights: those to round.
        samples: that the networks run on; of very large tensors not all are used.
        step: is called after each weight.
    """
    samples = samples[: samples_that_fit(quantized, 2)]
    pair = _Pair(quantized, reference, samples)
    network = pair.rounded.network
    operators = {node.name: node for node in network.nodes}
    readers = {
        pair.fake_quantize(operators[weight.node].inputs[weight.place]).name: weight
        for weight in weights
        if weight.role in GPTQ_ROLES
    }
    biased = {weight.node: weight for weight in readers.values() if weight.role in _WITH_BIAS}
    for index, node in enumerate(network.nodes):
        if node.name in readers:
            weight = readers[node.name]
            pair.choose_codes(weight, node, operators[weight.node])
            step()
        pair.run(index)
        if node.name in biased:
            pair.correct_bias(biased[node.name], node)
    return pair.rounded.network.to_onnx()


#: Roles of weights whose operator has a bias an output: a recurrent layer's goes into gates.
_WITH_BIAS = frozenset([roles.CONVOLUTION, roles.TRANSPOSED, roles.PRODUCT])


class _Pair:
    def __init__(
        self, quantized: onnx.ModelProto, reference: onnx.ModelProto, samples: Sequence[Sample]
    ) -> None:
        self.graph = Graph(quantized)
        self.rounded = Lockstep(TrainableNetwork(quantized), samples)
        self.real = Lockstep(TrainableNetwork(reference), samples)
        self.at = {node.name: i for i, node in enumerate(self.real.network.nodes)}
        self.ahead: set[str] = set()
        self.parameters = self.rounded.network.weights()

    def run(self, index: int) -> None:
        """The next node of both; one of FakeQuantize is only in the quantized network."""
        node = self.rounded.network.nodes[index]
        self.rounded.run(index)
        if node.name in self.at and node.name not in self.ahead:
            self.real.run(self.at[node.name])

    def choose_codes(self, weight: Weight, rounding: Node, node: Node) -> None:
        """Put the weight of ``node`` on the grid of ``rounding``, which runs next."""
        if weight.role == roles.STATE and not self.run_ahead(node):
            return  # nobody knows its states: the nearest codes stay
        value, scale = (self.parameters[name] for name in rounding.inputs[:2])
        bits = rounding["bits"]
        moments = self.moments(weight, node)
        matrices = weight.matrices(value.detach().numpy().reshape(weight.shape))
        wanted = matrices + _made_up(matrices, moments)
        diagonal = np.diagonal(moments.rounded, axis1=-2, axis2=-1)
        scales = weight.shared_scale(weight_scales(wanted, bits, diagonal))
        by_output = weight.scale_matrix(scales)
        codes = gptq(wanted, moments.rounded, by_output, bits)
        whole = weight.from_matrices(codes * by_output[..., None]).reshape(value.shape)
        with torch.no_grad():
            value.copy_(torch.from_numpy(np.ascontiguousarray(whole, np.float32)))
            scale.copy_(torch.from_numpy(np.ascontiguousarray(scales, np.float32)))

    def run_ahead(self, node: Node) -> bool:
        """Run a recurrent layer of the float network; False where it does not give its states."""
        states = node.outputs[0]
        if states:
            self.real.keep(states)
            self.real.run(self.at[node.name])
            self.ahead.add(node.name)
        return bool(states)

    def data(self, weight: Weight, node: Node) -> Iterator[tuple[Tensor, Tensor]]:
        """What the weight is multiplied by in the quantized and in the float network; a layer's
        states are known of the latter."""
        if weight.role == roles.STATE:
            return ((each, each) for each in self.real.tensor(node.outputs[0]))
        source = self.real.network.nodes[self.at[node.name]].inputs[0]
        return zip(self.rounded.tensor(node.inputs[0]), self.real.tensor(source), strict=True)

    def fake_quantize(self, name: str) -> onnx.NodeProto:
        """The FakeQuantize that a weight came through."""
        node = self.graph.producer[name]
        while kind_of(node) != f"{DOMAIN}.{FAKE_QUANTIZE}":
            node = self.graph.producer[node.input[0]]
        return node

    def moments(self, weight: Weight, node: Node) -> _Moments:
        portions = len(self.rounded.portions)
        count = max(1, rows_wanted(weight) // portions)
        squares, crosses, means, shifts, rows = [], [], [], [], 0
        for seed, (rounded, real) in enumerate(self.data(weight, node)):
            x, y = (rows_of(weight, node, each, count, seed) for each in (rounded, real))
            squares.append(x.mT @ x)
            crosses.append((y - x).mT @ x)
            means.append(x.sum(1))
            shifts.append((y - x).sum(1))
            rows += x.shape[1]
        square, cross, mean, shift = (
            (torch.stack(each).sum(0) / rows).double().numpy()
            for each in (squares, crosses, means, shifts)
        )
        if self.correctable(weight, node):  # The bias takes up what the means do.
            square -= mean[:, :, None] * mean[:, None, :]
            cross -= shift[:, :, None] * mean[:, None, :]
        return _Moments(square, cross)

    def correctable(self, weight: Weight, node: Node) -> bool:
        """Whether the node has a bias of its own, one number an output."""
        name = self.graph.bias_of(node.proto)
        if name not in self.parameters or len(self.graph.readers[name]) != 1:
            return False
        outputs = weight.scales * (weight.groups if weight.role == roles.TRANSPOSED else 1)
        return weight.role in _WITH_BIAS and self.parameters[name].numel() == outputs

    def correct_bias(self, weight: Weight, node: Node) -> None:
        """Let the bias take up the mean error of the results that just were computed."""
        if not self.correctable(weight, node):
            return
        name = self.graph.bias_of(node.proto)
        axis = 1 if weight.role in (roles.CONVOLUTION, roles.TRANSPOSED) else -1
        result = node.outputs[0]
        errors = []
        for rounded, real in zip(
            self.rounded.tensor(result), self.real.tensor(result), strict=True
        ):
            error = real - rounded
            place = axis + 1 if axis > 0 else error.ndim - 1
            others = [i for i in range(1, error.ndim) if i != place]
            errors.append(error.mean(others) if others else error)
        change = _sure_mean(torch.cat(errors))
        bias = self.parameters[name]
        with torch.no_grad():
            bias += change.reshape(bias.shape)
        if name in node.inputs:
            along = [-1 if i == axis % (error.ndim - 1) else 1 for i in range(error.ndim - 1)]
            self.rounded.add(result, change.reshape(along))


#: Share of the mean square of a weight's inputs below which their drift is not made up for.
_RIDGE = 0.1


def _made_up(matrices: np.ndarray, moments: _Moments) -> np.ndarray:
    """The change of the weights that makes up for their inputs' drift, by least squares."""
    square = moments.rounded
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
