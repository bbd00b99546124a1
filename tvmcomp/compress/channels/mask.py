"""A network in which what sums over channels reads some of them as zero.

x  ->  Conv        becomes        x  ->  Mul(mask)  ->  Conv
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
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


def masked(groups: Groups, removed: Iterable[int] = ()) -> Masked:
    """A copy of the network with a mask before every sum over channels: 0 for ``removed``."""
    model = copied(groups.model)
    graph, gone = Graph(model), tuple(removed)
    reads: dict[str, list[Read]] = {}
    for read in groups.flow.reads:
        reads.setdefault(read.node, []).append(read)
    nodes, masks = [], {}
    for node in graph.nodes:
        inputs = list(node.input)
        for read in reads.get(node.name, ()):
            source = node.input[read.place]
            shape = groups.flow.shapes[inputs[read.place]]
            kept = groups.kept(read.classes, gone)
            assert kept is not None
            along = [-1 if i == read.axis else 1 for i in range(len(shape))]
            mask = graph.add_constant(
                f"{node.name}.{read.place}.{read.axis}.mask", kept.astype(np.float32).reshape(along)
            )
            name = graph.free_name(f"{mask}.read")
            nodes.append(helper.make_node("Mul", [source, mask], [name], name))
            node.input[read.place] = name
            masks[mask] = read
        nodes.append(node)
    set_nodes(model, nodes)
    return Masked(model, masks)
