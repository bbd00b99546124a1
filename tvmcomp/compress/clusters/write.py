"""Clusters in the standard's words: a code book and what looks it up.

    Cluster(weight)                 ->  Gather(book, Cast(indices))
    Cluster(weight), with a scale   ->  DequantizeLinear(Gather(int8 book, Cast(indices)), scale)

Indices are stored as uint8, as UINT4 where they are below 16 and the operator set is 21 or later.
Their Cast is there as Gather takes no such integers; tools fold all of it when they read the file.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from tvmcomp.compress.fake_quantize.graph import Graph, kind_of
from tvmcomp.compress.operators.cluster import CLUSTER, indices, stored_book
from tvmcomp.compress.operators.fake_quantize import stored_scale
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN
from tvmcomp.quantize.rounding.codes import MOST_BITS

_SMALL = 16


def is_cluster(node: onnx.NodeProto) -> bool:
    """Whether ``node`` is a Cluster."""
    return kind_of(node) == f"{DOMAIN}.{CLUSTER}"


def cluster_scale(graph: Graph, node: onnx.NodeProto) -> np.ndarray | None:
    """The scale of a Cluster as it is written; None where it has none."""
    value = graph.constant(node.input[1])
    if value is None:
        return None
    scale: np.ndarray = stored_scale(
        torch.from_numpy(np.array(value)), MOST_BITS, narrow=True
    ).numpy()
    return scale


def write_cluster(graph: Graph, node: onnx.NodeProto, *, has_uint4: bool) -> list[onnx.NodeProto]:
    """The operators in the place of a Cluster, whose constants ``graph`` gets.

    Args:
        graph: its graph.
        node: the Cluster.
        has_uint4: whether the operator set has integers of 4 bits.
    """
    name, result = node.input[0], node.output[0]
    value, given = graph.constant(name), graph.constant(node.input[2])
    assert value is not None and given is not None
    scale = cluster_scale(graph, node)
    axis = next(each.i for each in node.attribute if each.name == "axis")
    levels = stored_book(torch.from_numpy(np.array(given)), integers=scale is not None)
    x = torch.from_numpy(np.array(value))
    if scale is not None:
        along = [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]
        x = x / torch.from_numpy(scale).reshape(along)
    used, own = np.unique(indices(x, levels).numpy(), return_inverse=True)
    book = levels.numpy()[used].astype(np.float32 if scale is None else np.int8)
    codes = _indices(graph, name, own.reshape(value.shape), has_uint4 and len(book) <= _SMALL)
    wide, entries = graph.free_name(f"{name}_wide"), graph.add_constant(f"{name}_book", book)
    looked_up = result if scale is None else graph.free_name(f"{name}_codes")
    nodes = [
        helper.make_node("Cast", [codes], [wide], f"{result}_wide", to=TensorProto.INT32),
        helper.make_node("Gather", [entries, wide], [looked_up], f"{result}_lookup", axis=0),
    ]
    if scale is not None:
        steps = graph.add_constant(f"{name}_steps", scale)
        nodes.append(
            helper.make_node(
                "DequantizeLinear", [looked_up, steps], [result], f"{result}_dequantize", axis=axis
            )
        )
    return nodes


def _indices(graph: Graph, name: str, own: np.ndarray, small: bool) -> str:
    wanted = graph.free_name(f"{name}_indices")
    content = own.astype(np.uint8)
    kind = TensorProto.UINT4 if small else TensorProto.UINT8
    raw = packed(content) if small else content.tobytes()
    graph.model.graph.initializer.append(helper.make_tensor(wanted, kind, own.shape, raw, raw=True))
    return wanted


def packed(codes: np.ndarray) -> bytes:
    """Integers of 4 bits, two a byte, the first in the low half."""
    flat = codes.reshape(-1).astype(np.uint8) & np.uint8(15)
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    return (flat[::2] | (flat[1::2] << 4)).astype(np.uint8).tobytes()
