"""Operators that gradients don't flow through: ONNX's own reference computes them, in numpy."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.reference
import torch

from tvmcomp.compress.operators.table import Node, Tensor

#: Operators that the reference computes, and not as ONNX Runtime and we do.
_WRONG = frozenset(["TfIdfVectorizer"])


def run_reference(node: Node, inputs: tuple[Tensor | None, ...]) -> tuple[Tensor, ...]:
    """The results of ``node``, without gradients.

    Raises:
        NotImplementedError: the reference does not know the operator, or computes it wrongly.
    """
    if node.operator in _WRONG:
        raise NotImplementedError("onnx's reference computes it wrongly")
    present = {n: t for n, t in zip(node.inputs, inputs, strict=True) if n and t is not None}
    feeds = {name: tensor.detach().numpy() for name, tensor in present.items()}
    infos = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in feeds.items()
    ]
    wanted = [name for name in node.outputs if name]
    graph = onnx.helper.make_graph(
        [node.proto], "node", infos, [onnx.ValueInfoProto(name=name) for name in wanted]
    )
    opset = onnx.helper.make_opsetid(node.proto.domain, node.opset)
    model = onnx.helper.make_model(graph, opset_imports=[opset])
    results = onnx.reference.ReferenceEvaluator(model).run(None, feeds)
    by_name = dict(zip(wanted, results, strict=True))
    return tuple(
        torch.from_numpy(np.array(by_name[name])) if name else torch.empty(0)
        for name in node.outputs
    )
