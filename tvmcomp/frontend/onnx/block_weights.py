"""Products with weights of 4 bits in blocks, which stay packed: ``tvmcomp.BlockMatMul``.

    Y = BlockMatMul(X, codes, scales, zeros)

Exporters of language models write such a weight as ONNX Runtime's MatMulNBits, or as the standard's
DequantizeLinear with ``block_size`` of INT4 or UINT4, in front of a MatMul, transposed or not. What
is as :func:`tvmcomp.block_weights.block_matmul` has it becomes that; any other weight is unpacked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tvmcomp.block_weights import block_matmul
from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.node_facts import attributes_of
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN
from tvmcomp.frontend.onnx.values import array_of, dtype_of
from tvmcomp.tvm_types import Builder, Expr, Inputs

BLOCK_MATMUL = "BlockMatMul"
_FOUR_BITS = (onnx.TensorProto.INT4, onnx.TensorProto.UINT4)
#: Scales that the kernel reads.
_SCALES = ("float32", "float16")


class BlockMatMul(Converter):
    """BlockMatMul."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        arrays = [array_of(value) for value in inputs[1:4]]
        codes, scales, zeros = (array for array in arrays if array is not None)
        if dtype_of(inputs[0]) != "float32":
            raise ValueError(f"its data is {dtype_of(inputs[0])}, and must be float32")
        return block_matmul(inputs[0], codes, scales, zeros, attr["block"])


def keep_blocks(model: onnx.ModelProto) -> bool:
    """Make BlockMatMul of each MatMul with such a weight in the graph of ``model``, in place.

    Returns:
        Whether there was one.
    """
    keeper = _Keeper(model)
    found = [keeper.kept(node) for node in model.graph.node if node.op_type == "MatMul"]
    if any(found):
        add_domain(model)
    return any(found)


def add_domain(model: onnx.ModelProto) -> None:
    """Let ``model`` use operators of our own."""
    if DOMAIN not in {each.domain for each in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))


class _Keeper:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.makers = {name: node for node in model.graph.node for name in node.output}
        self.types = {info.name: info.type.tensor_type.elem_type
                      for info in (*model.graph.value_info, *model.graph.input)}  # fmt: skip

    def kept(self, node: onnx.NodeProto) -> bool:
        maker = self.makers.get(node.input[1])
        swapped = maker is not None and maker.op_type == "Transpose"
        if maker is not None and swapped:
            if list(attributes_of(maker).get("perm", (1, 0))) != [1, 0]:
                return False
            maker = self.makers.get(maker.input[0])
        if maker is None or maker.op_type != "DequantizeLinear" or len(maker.input) < 2:
            return False
        weight, scales = (self.constants.get(name) for name in maker.input[:2])
        if weight is None or scales is None or weight.data_type not in _FOUR_BITS:
            return False
        if self.types.get(node.input[0]) != onnx.TensorProto.FLOAT or len(weight.dims) != 2:
            return False
        attributes = attributes_of(maker)
        block, axis = attributes.get("block_size", 0), attributes.get("axis", 1) % 2
        if axis != (1 if swapped else 0) or not fits(weight.dims[axis], block):
            return False
        zero = self.constants.get(maker.input[2]) if len(maker.input) > 2 else None
        if len(maker.input) > 2 and maker.input[2] and zero is None:
            return False
        shift = 8 if weight.data_type == onnx.TensorProto.INT4 else 0
        codes, factors = _array(weight), numpy_helper.to_array(scales)
        if str(factors.dtype) not in _SCALES or factors.ndim != 2:
            return False
        zeros = np.zeros(factors.shape, np.int16) if zero is None else _array(zero)
        if axis == 0:
            codes, factors, zeros = codes.T, factors.T, zeros.T
        codes, zeros = ((each + shift).astype(np.uint8) for each in (codes, zeros))
        names = [node.input[0]]
        for what, array in (("codes", packed(codes)), ("scales", factors), ("zeros", zeros)):
            names.append(f"{node.output[0]}/{what}")
            self.graph.initializer.append(
                numpy_helper.from_array(np.ascontiguousarray(array), names[-1])
            )
        node.op_type, node.domain = BLOCK_MATMUL, DOMAIN
        node.input[:] = names
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("block", block))
        return True


def fits(depth: int, block: int) -> bool:
    """Whether pairs along the depth have one scale."""
    return block > 1 and block % 2 == 0 and depth % 2 == 0


def packed(codes: np.ndarray) -> np.ndarray:
    """Codes ``[N, K]`` two a byte, that of an even k in the low bits."""
    return (codes[:, ::2] | codes[:, 1::2] << 4).astype(np.uint8)


def _array(tensor: onnx.TensorProto) -> np.ndarray:
    return numpy_helper.to_array(tensor).astype(np.int16)


#: Operator of our domain -> converter.
BLOCKS = {BLOCK_MATMUL: BlockMatMul}
