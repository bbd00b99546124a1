"""Integer products whose sums are exact on every CPU, for ONNX Runtime to be the reference.

On x86 CPUs without VNNI its kernels add pairs of products in 16 bits, where they saturate. There a
model's integer products become float ones, which hold such small sums exactly. The rules that
write quantized operators as such products are the importer's own: where VNNI is, nothing of ours
is in the reference.
"""

from __future__ import annotations

import functools

import onnx
from onnx import TensorProto, helper

from tvmcomp.frontend.onnx.rewrites import rewrite
from tvmcomp.targets.features import host_features

_PRODUCTS = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}
#: What becomes such products.
_HOLD_PRODUCTS = {
    *_PRODUCTS, "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QGemm", "QLinearConv",
    "QLinearMatMul",
}  # fmt: skip


@functools.cache
def saturates() -> bool:
    """Whether ONNX Runtime's products of 8 bits saturate on this machine."""
    features = host_features()
    return "avx2" in features and not any("vnni" in feature for feature in features)


def in_floats(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """``model``, of set ``opset``, with its integer products in float.

    Zero points are those that the generators draw: one, or one for each column of the right side.
    """
    if not any(node.op_type in _HOLD_PRODUCTS for node in model.graph.node):
        return model
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    rewrite(copy, opset, where="the reference")
    nodes = []
    for node in copy.graph.node:
        if node.op_type not in _PRODUCTS:
            nodes.append(node)
            continue
        real = []
        for index, name in enumerate(node.input[:2]):
            wide = f"{node.output[0]}_{index}"
            nodes.append(helper.make_node("Cast", [name], [wide], to=TensorProto.FLOAT))
            zero = node.input[2 + index] if len(node.input) > 2 + index else ""
            if zero:
                nodes.append(helper.make_node("Cast", [zero], [f"{wide}_z"], to=TensorProto.FLOAT))
                zero = f"{wide}_z"
                nodes.append(helper.make_node("Sub", [wide, zero], [f"{wide}_s"]))
                wide = f"{wide}_s"
            real.append(wide)
        product = helper.make_node(_PRODUCTS[node.op_type], real, [f"{node.output[0]}_p"])
        product.attribute.extend(node.attribute)
        nodes.append(product)
        nodes.append(helper.make_node("Cast", product.output, node.output, to=TensorProto.INT32))
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy
