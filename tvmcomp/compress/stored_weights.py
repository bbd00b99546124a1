"""Weights are stored in 16 bits again where the original's were.

Networks in float16 and bfloat16 are compressed in float32, as they are computed; written so, what
is left of them would take twice its bytes. A weight is stored in the original's type, and a Cast,
which other tools and the build fold when they read the file, gives it to who reads it.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tvmcomp.compress.fake_quantize.graph import copied, kind_of
from tvmcomp.frontend.onnx.in_float32 import stored_type

#: Whose float operands say what integers stand for, and who reads code books.
_OF_CODES = frozenset(["QuantizeLinear", "DequantizeLinear"])


def in_stored_type(model: onnx.ModelProto, source: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with its float weights in the type of ``source``'s, where all of those are of one
    type of 16 bits; ``model`` itself elsewhere.

    Args:
        model: of operators that other tools know.
        source: what it was made of, as it came.
    """
    wanted = stored_type(source.graph)
    if wanted is None:
        return model
    made = copied(model)
    graph = made.graph
    constants = {tensor.name for tensor in graph.initializer}
    kept = {
        name
        for node in graph.node
        if kind_of(node) in _OF_CODES
        or (node.op_type == "Gather" and node.input[1] in constants)  # of a code book
        for name in node.input
    }
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2 or tensor.name in kept:
            continue
        value = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            short = value.astype(wanted)
        if not np.array_equal(np.isfinite(short), np.isfinite(value)):
            continue
        name = f"{tensor.name}.{wanted}"
        casts.append(helper.make_node("Cast", [name], [tensor.name], name, to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(short, name))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return made
