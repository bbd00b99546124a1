"""The weights that are pruned, and in blocks of which size.

1. The weights of convolutions and products, also those that several operators share, alike; not of
   depthwise convolutions, which have few, and none of an operator that is to stay dense.
2. What a sparse kernel computes (a tap, a group: :mod:`tvmcomp.schedules.sparse`) loses blocks of
   the size that it takes: 16 outputs, and in integers the inputs of a dot product. It gets faster.
3. Others lose single weights. They get no faster, and the file gets smaller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from tvmcomp.compress.fake_quantize import weights as roles
from tvmcomp.compress.fake_quantize.graph import Graph, attribute, kind_of
from tvmcomp.compress.fake_quantize.patterns import matched
from tvmcomp.compress.fake_quantize.plan import plan_model
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.compress.sparsify.masks import Block
from tvmcomp.schedules.dot import bytes_kernel, float_kernel
from tvmcomp.targets import TargetDescription

#: Outputs of a block: a vector of the widest kernels, and several of the others'.
_OUTPUTS = 16
_SINGLE: Block = (1, 1)
_ROLES = frozenset([roles.CONVOLUTION, roles.PRODUCT])


@dataclass(frozen=True)
class Prunable:
    """A weight that is pruned.

    Attributes:
        weight: the weight.
        block: outputs and inputs of a block.
        nodes: the operators that multiply by it, the weight's own the first.
    """

    weight: Weight
    block: Block
    nodes: tuple[str, ...]


def kernel_block(target: TargetDescription, *, integers: bool) -> Block:
    """The block that a sparse kernel of ``target`` skips."""
    kernel = bytes_kernel(target) if integers else float_kernel(target)
    return math.lcm(_OUTPUTS, kernel.lanes), kernel.depth


def prunable(
    model: onnx.ModelProto, block: Block, keep_dense: Sequence[str] = ()
) -> list[Prunable]:
    """The weights of ``model``, a prepared graph.

    Args:
        model: the graph.
        block: of what a sparse kernel computes.
        keep_dense: patterns of operators that are left alone.

    Raises:
        ConfigError: a pattern matches nothing.
    """
    plan = plan_model(model)
    graph, dense = Graph(model), matched(keep_dense, model)
    found = []
    for weight in plan.weights:
        nodes = plan.multiplied[weight.tensor]
        alike = _are_alike(graph.readers[weight.tensor], nodes)
        if weight.role in _ROLES and alike and not dense.intersection(nodes):
            groups, outputs = weight.matrices(np.empty(weight.shape, bool)).shape[:2]
            if groups > 1 and outputs == 1:
                continue
            taps = math.prod(weight.shape[2:]) if weight.role == roles.CONVOLUTION else 1
            found.append(Prunable(weight, block if groups == taps == 1 else _SINGLE, nodes))
    return found


def _are_alike(readers: Sequence[onnx.NodeProto | None], nodes: Sequence[str]) -> bool:
    """Whether all that read a weight multiply by it, in the same way."""
    if sorted(nodes) != sorted(reader.name for reader in readers if reader is not None):
        return False
    settings = ("group", "transB")
    ways = {(kind_of(r), *(attribute(r, s) for s in settings)) for r in readers if r is not None}
    return None not in readers and len(ways) == 1
