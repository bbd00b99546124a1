"""A network in which what sums over channels reads some of them as zero, or as their mean.

x  ->  Conv        becomes        x  ->  Mul(mask)  ->  Conv
                   or             x  ->  Sub(mean)  ->  Mul(mask)  ->  Add(mean)  ->  Conv
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from tvmcomp.compress.channels.flow import Read
from tvmcomp.compress.channels.groups import Groups
from tvmcomp.compress.fake_quantize.graph import Graph, copied, set_nodes


@dataclass(frozen=True)
class Masked:
    """A network with masks.

    Attributes:
        model: the network.
        masks: the constant that each mask is -> where it stands; all ones, unless something is
            removed.
    """

    model: onnx.ModelProto
    masks: dict[str, Read]


def read_tensors(groups: Groups) -> dict[str, tuple[str, int]]:
    """Tensors that are summed over, but for constants -> the tensor's name and the axis, by the
    name of its means for :func:`masked`."""
    inputs = {node.name: node.input for node in groups.flow.graph.nodes}
    found = {}
    for read in groups.flow.reads:
        tensor = inputs[read.node][read.place]
        if not groups.flow.graph.is_constant(tensor):
            found[f"{tensor}:{read.axis}"] = (tensor, read.axis)
    return found


def masked(
    groups: Groups,
    removed: Iterable[int] = (),
    means: Mapping[str, NDArray[np.float32]] | None = None,
) -> Masked:
    """A copy of the network with a mask before every sum over channels: 0 for ``removed``.

    Args:
        groups: of the network.
        removed: classes.
        means: what is read in their place, for each position of the axis, by the names that
            :func:`read_tensors` has; where there is none, zero.
    """
    model = copied(groups.model)
    graph, gone = Graph(model), tuple(removed)
    reads: dict[str, list[Read]] = {}
    for read in groups.flow.reads:
        reads.setdefault(read.node, []).append(read)
    nodes, masks = [], {}
    for node in graph.nodes:
        inputs = list(node.input)
        for read in reads.get(node.name, ()):
            tensor = inputs[read.place]
            along = [-1 if i == read.axis else 1 for i in range(len(groups.flow.shapes[tensor]))]
            kept = groups.kept(read.classes, gone)
            assert kept is not None
            title = f"{node.name}.{read.place}.{read.axis}"
            mask = graph.add_constant(f"{title}.mask", kept.astype(np.float32).reshape(along))
            masks[mask] = read
            mean = (means or {}).get(f"{tensor}:{read.axis}")
            steps = [("Mul", mask)]
            if mean is not None:
                centre = graph.add_constant(f"{title}.mean", mean.reshape(along))
                steps = [("Sub", centre), *steps, ("Add", centre)]
            for kind, constant in steps:
                name = graph.free_name(f"{title}.{kind}")
                nodes.append(
                    helper.make_node(kind, [node.input[read.place], constant], [name], name)
                )
                node.input[read.place] = name
        nodes.append(node)
    set_nodes(model, nodes)
    return Masked(model, masks)
