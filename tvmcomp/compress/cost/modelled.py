"""How long products and convolutions take on a target that is not at hand: a model of it.

Output channels fill whole vectors, and 8-bit dot products whole groups of four inputs: what lacks
to them is computed all the same. A kernel takes as long as its arithmetic or as what it moves,
whichever is more, and a call. Only ratios of such times mean anything.
"""

from __future__ import annotations

import math

import onnx

from tvmcomp.compress.cost.arithmetic import node_multiply_adds
from tvmcomp.compress.fake_quantize.graph import Graph, attribute, kind_of
from tvmcomp.targets.description import TargetDescription

#: Cycles a second, about, by family.
_CLOCK = {"x86": 3.5e9, "arm": 2.0e9, "riscv": 1.5e9, "cuda": 1.5e9}
#: 8-bit multiply-accumulates for one of float32 in the same vector, by dot product.
_BYTE_SPEEDUP = {
    "amx_int8": 16,
    "avx512_vnni": 4,
    "avx_vnni": 4,
    "i8mm": 8,
    "sdot": 4,
    "pmaddwd": 1.5,
}
#: 8-bit numbers that a dot product takes at a time.
_DOT_DEPTH = 4
#: Bytes a cycle and core, and seconds that a kernel takes beside its work.
_BYTES_A_CYCLE, _CALL = 16, 1e-6


def modelled_seconds(model: onnx.ModelProto, target: TargetDescription, *, int8: bool) -> float:
    """Seconds of a run of ``model``, a graph of known shapes.

    Args:
        model: what is timed.
        target: where.
        int8: whether products are computed in 8-bit integers.
    """
    graph = Graph(model)
    clock = _CLOCK[target.family] * target.cores
    lanes = target.vector_bits // 32
    rate = clock * lanes * (_BYTE_SPEEDUP.get(target.dot_product, 1) if int8 else 1)
    total = 0.0
    for node in graph.nodes:
        moved = (1 if int8 else 4) * sum(
            math.prod(graph.shape(name) or ()) for name in (*node.input, *node.output) if name
        )
        arithmetic = _multiply_adds(graph, node, lanes, _DOT_DEPTH if int8 else 1) / rate
        moves = moved / (_BYTES_A_CYCLE * clock)
        total += max(arithmetic, moves) + (_CALL if arithmetic else 0.0)
    return total


def _multiply_adds(graph: Graph, node: onnx.NodeProto, lanes: int, depth: int) -> float:
    """Multiply-accumulates of a node; of convolutions and products with those that fill vectors."""
    kind = kind_of(node)
    if kind not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return node_multiply_adds(node, lambda name: graph.shape(name) or (0,))
    left, right = (graph.shape(name) or () for name in node.input[:2])
    result = graph.shape(node.output[0]) or ()
    if kind in ("Gemm", "MatMul"):
        inner = left[0 if attribute(node, "transA", 0) else -1]
        return math.prod(result[:-1]) * _up(result[-1], lanes) * _up(inner, depth)
    taps = math.prod(right[2:])
    group = int(str(attribute(node, "group", 1)))
    if kind == "ConvTranspose":
        inner, outer = right[0] // group, right[1]
        pixels = math.prod(left[2:])
    else:
        inner, outer = right[1], right[0] // group
        pixels = math.prod(result[2:])
    if inner == outer == 1:  # depthwise: the vectors are filled by groups
        return result[0] * pixels * taps * _up(group, lanes)
    return result[0] * pixels * group * _up(outer, lanes) * _up(inner * taps, depth)


def _up(size: int, step: int) -> int:
    return math.ceil(size / step) * step
