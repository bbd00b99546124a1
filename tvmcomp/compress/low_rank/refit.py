"""Factors anew, one operator after the other, for what reaches each in the factored network.

The factored network and the whole one run side by side. What is factored before an operator changes
what it reads; its factors become those of the weight that gives, of this, what the whole network's
gives of its own, and the bias takes up the mean of what is still missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
import torch

from tvmcomp.compress.fake_quantize.lockstep import samples_that_fit
from tvmcomp.compress.fake_quantize.pair import Pair, made_up
from tvmcomp.compress.low_rank.forms import Factored, factored, part_names, stored
from tvmcomp.compress.moments import Moments
from tvmcomp.compress.network import TrainableNetwork
from tvmcomp.compress.operators.table import Node
from tvmcomp.compress.samples import Sample


def refitted(
    model: onnx.ModelProto,
    small: onnx.ModelProto,
    chosen: Mapping[str, Factored],
    samples: Sequence[Sample],
    step: Callable[[], None] = lambda: None,
) -> onnx.ModelProto:
    """``small`` with better factors and biases.

    Args:
        model: the whole network.
        small: the network with ``chosen`` in it, by the names of its operators.
        chosen: what was factored.
        samples: to fit by; of very large tensors not all are used.
        step: is called after each operator.
    """
    pair = Pair(small, model, samples[: samples_that_fit(small, 2)])
    nodes = {node.name: node for node in pair.changed.network.nodes}
    whole = {node.name: node for node in pair.real.network.nodes}
    firsts = {part_names(name, len(each.matrices))[0]: name for name, each in chosen.items()}
    values = TrainableNetwork(model).weights()
    for index, node in enumerate(pair.changed.network.nodes):
        name = firsts.get(node.name)
        if name is not None:
            # The operator as it was, where the first of its parts reads and the last gives.
            operator = replace(whole[name], inputs=node.inputs, proto=nodes[name].proto)
            made = _again(pair, operator, chosen[name], values)
            parts = [nodes[part] for part in part_names(name, len(made.matrices))]
            arrays = stored(made.matrices, whole[name].proto, made.weight)
            with torch.no_grad():
                for part, array in zip(parts, arrays, strict=True):
                    value = pair.parameters[part.inputs[1]]
                    value.copy_(torch.from_numpy(array).reshape(value.shape))
        pair.run(index)
        if node.name in chosen:
            pair.correct_bias(chosen[node.name].weight, node)
            step()
    return pair.changed.network.to_onnx()


def _again(
    pair: Pair, operator: Node, before: Factored, values: Mapping[str, torch.nn.Parameter]
) -> Factored:
    weight = before.weight
    moments = pair.moments(weight, operator)
    matrices = weight.matrices(values[weight.tensor].detach().numpy().astype(np.float64))
    wanted = matrices + made_up(matrices, moments)
    columns = matrices.shape[-1]
    seen = Moments(np.zeros((1, columns)), moments.square)
    return factored(weight, wanted[0], seen, before.form)
