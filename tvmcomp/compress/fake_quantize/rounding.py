"""Codes for the weights of a fake-quantized network, one layer after the other.

The quantized network and the float one run side by side over the samples. At each operator with a
weight the codes are chosen by GPTQ for the rounded data that reach it there, rounding errors of all
layers before included; then its bias takes up the mean of what is still missing (Nagel et al.,
"Data-Free Quantization Through Weight Equalization and Bias Correction", arXiv:1906.04721, with
means of samples in place of estimated ones). One pass, and each layer is left on its grid: the
float weight becomes ``code * scale``, from where training goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import torch

from tvmcomp.compress.fake_quantize import weights as roles
from tvmcomp.compress.fake_quantize.graph import Graph, kind_of
from tvmcomp.compress.fake_quantize.lockstep import samples_that_fit
from tvmcomp.compress.fake_quantize.pair import WITH_BIAS, Pair, made_up
from tvmcomp.compress.fake_quantize.weights import GPTQ_ROLES, Weight
from tvmcomp.compress.operators.fake_quantize import FAKE_QUANTIZE
from tvmcomp.compress.operators.table import Node
from tvmcomp.compress.samples import Sample
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN
from tvmcomp.quantize.rounding.gptq import gptq
from tvmcomp.quantize.rounding.weight_scales import weight_scales


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
    pair = Pair(quantized, reference, samples)
    network = pair.changed.network
    operators = {node.name: node for node in network.nodes}
    readers = {
        _fake_quantize(pair.graph, operators[weight.node].inputs[weight.place]).name: weight
        for weight in weights
        if weight.role in GPTQ_ROLES
    }
    biased = {weight.node: weight for weight in readers.values() if weight.role in WITH_BIAS}
    for index, node in enumerate(network.nodes):
        if node.name in readers:
            weight = readers[node.name]
            _choose_codes(pair, weight, node, operators[weight.node])
            step()
        pair.run(index)
        if node.name in biased:
            pair.correct_bias(biased[node.name], node)
    return pair.changed.network.to_onnx()


def _choose_codes(pair: Pair, weight: Weight, rounding: Node, node: Node) -> None:
    """Put the weight of ``node`` on the grid of ``rounding``, which runs next."""
    if weight.role == roles.STATE and not pair.run_ahead(node):
        return  # nobody knows its states: the nearest codes stay
    value, scale = (pair.parameters[name] for name in rounding.inputs[:2])
    bits = rounding["bits"]
    moments = pair.moments(weight, node)
    matrices = weight.matrices(value.detach().numpy().reshape(weight.shape))
    # What was pruned stays 0.
    wanted = np.where(matrices == 0, 0, matrices + made_up(matrices, moments))
    diagonal = np.diagonal(moments.square, axis1=-2, axis2=-1)
    scales = weight.shared_scale(weight_scales(wanted, bits, diagonal))
    by_output = weight.scale_matrix(scales)
    codes = gptq(wanted, moments.square, by_output, bits)
    whole = weight.from_matrices(codes * by_output[..., None]).reshape(value.shape)
    with torch.no_grad():
        value.copy_(torch.from_numpy(np.ascontiguousarray(whole, np.float32)))
        scale.copy_(torch.from_numpy(np.ascontiguousarray(scales, np.float32)))


def _fake_quantize(graph: Graph, name: str) -> onnx.NodeProto:
    """The FakeQuantize that a weight came through."""
    node = graph.producer[name]
    while kind_of(node) != f"{DOMAIN}.{FAKE_QUANTIZE}":
        node = graph.producer[node.input[0]]
    return node
