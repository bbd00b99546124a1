"""Multiply-accumulates: of models, as a cost that needs no target, and of nodes of any width."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import onnx

from tvmcomp.compress.fake_quantize.graph import Graph, attribute, kind_of


def multiply_adds(models: Sequence[onnx.ModelProto]) -> list[float]:
    """The multiply-accumulates of each model."""
    return [_multiply_adds(Graph(model)) for model in models]


def _multiply_adds(graph: Graph) -> float:
    return sum(node_multiply_adds(node, lambda n: graph.shape(n) or (0,)) for node in graph.nodes)


def node_multiply_adds(node: onnx.NodeProto, shape: Callable[[str], Sequence[float]]) -> float:
    """The multiply-accumulates of a node; 0 of one that multiplies by no weights.

    Args:
        node: it.
        shape: of its tensors; the sizes need not be whole.
    """
    kind = kind_of(node)
    if kind == "Conv":
        return math.prod(shape(node.output[0])) * math.prod(shape(node.input[1])[1:])
    if kind == "ConvTranspose":
        return math.prod(shape(node.input[0])) * math.prod(shape(node.input[1])[1:])
    if kind in ("Gemm", "MatMul", "com.microsoft.FusedMatMul"):
        inner = shape(node.input[0])[-2 if attribute(node, "transA", 0) else -1]
        return math.prod(shape(node.output[0])) * inner
    if kind in ("LSTM", "GRU", "RNN"):
        steps = math.prod(shape(node.input[0])[:2])
        return steps * sum(math.prod(shape(name)) for name in node.input[1:3])
    return 0.0
