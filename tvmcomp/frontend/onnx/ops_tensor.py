"""Our converters of matrix products, softmaxes, casts and tensors made from nothing."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import onnx
import onnx.numpy_helper

from tvmcomp.dtypes import numpy_dtype
from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.narrow import NARROW, cast_to_narrow
from tvmcomp.frontend.onnx.ops_resize import Resize, Upsample
from tvmcomp.frontend.onnx.values import (
    array_of,
    constant,
    dtype_of,
    ints_of,
    shape_of,
)
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


class Gemm(Converter):
    """Gemm: relax.matmul and an addition, with constant operands transposed and scaled here."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        left = _transposed(inputs[0]) if attr.get("transA", 0) else inputs[0]
        right = _transposed(inputs[1]) if attr.get("transB", 0) else inputs[1]
        alpha, beta = attr.get("alpha", 1.0), attr.get("beta", 1.0)
        dtype = dtype_of(inputs[0])
        product = relax.op.matmul(left, _scaled(right, alpha, dtype))
        if inputs[2] is None or beta == 0:
            return product
        return relax.op.add(product, _scaled(inputs[2], beta, dtype))


def _transposed(expr: Expr) -> Any:
    array = array_of(expr)
    if array is not None:
        return constant(array.T)
    return relax.op.permute_dims(expr, [1, 0])


def _scaled(expr: Expr, factor: float, dtype: str) -> Any:
    if factor == 1:
        return expr
    array = array_of(expr)
    if array is not None:
        return relax.const(array * factor, dtype)
    return relax.op.multiply(expr, relax.const(factor, dtype))


class _SoftmaxFamily(Converter):
    """Softmax and LogSoftmax; before operator set 13 over all axes from ``axis`` on, as one."""

    function: Any = None

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        shape = shape_of(data)
        axis = attr.get("axis", 1)
        axis = axis + len(shape) if axis < 0 else axis
        if axis < len(shape) and int(np.prod(shape[axis + 1 :])) == 1:
            return cls.function(data, axis)
        rows = int(np.prod(shape[:axis]))
        flat = cls.function(relax.op.reshape(data, (rows, -1)), 1)
        return relax.op.reshape(flat, shape)

    @classmethod
    def _impl_v13(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return cls.function(inputs[0], attr.get("axis", -1))


class Softmax(_SoftmaxFamily):
    """Softmax."""

    function = relax.op.nn.softmax


class LogSoftmax(_SoftmaxFamily):
    """LogSoftmax."""

    function = relax.op.nn.log_softmax


class Dropout(Converter):
    """Dropout does nothing at inference; its mask is all true."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        training = array_of(inputs[2]) if inputs[2] is not None else np.zeros(())
        ratio = array_of(inputs[1]) if inputs[1] is not None else np.zeros(())
        if training is None or (training.any() and (ratio is None or ratio.any())):
            raise ValueError("a Dropout in training mode is not supported; export for inference")
        if attr["tvm_custom"]["num_outputs"] == 1:
            return inputs[0]
        mask = constant(np.ones(shape_of(inputs[0]), "bool"))
        return relax.Tuple([inputs[0], mask])


class Cast(Converter):
    """Cast: relax.astype, which rounds toward zero like ONNX.

    A float outside an integer type is ONNX Runtime's to define: it keeps the low bits of a wider
    integer, where one instruction of some CPUs would give the nearest value, and others garbage.
    """

    wider: ClassVar = {"int8": "int32", "uint8": "int32", "int16": "int32", "uint16": "int32",
                       "uint32": "int64"}  # fmt: skip

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        if attr["to"] in NARROW:
            return cast_to_narrow(bb, data, attr["to"], attr)
        dtype = _dtype_name(attr["to"])
        if dtype == dtype_of(data):
            return data
        if "float" in dtype_of(data) and dtype in cls.wider:
            data = relax.op.astype(data, cls.wider[dtype])
        return relax.op.astype(data, dtype)


class CastLike(Cast):
    """CastLike: a Cast to the type of another tensor; the importer knows a narrow one's."""

    @classmethod
    def _impl_v15(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        to = onnx.helper.np_dtype_to_tensor_dtype(numpy_dtype(dtype_of(inputs[1])))
        return super()._impl_v1(bb, inputs, {"to": to, **attr}, params)


class Constant(Converter):
    """Constant, in each of its forms but strings and sparse tensors."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        if "value" in attr:
            return constant(onnx.numpy_helper.to_array(attr["value"]))
        for name, dtype in (("float", "float32"), ("int", "int64")):
            for form in (f"value_{name}", f"value_{name}s"):
                if form in attr:
                    return constant(np.asarray(attr[form], dtype))
        raise ValueError("a constant of strings or a sparse one is not supported")


class ConstantOfShape(Converter):
    """ConstantOfShape of a shape known at build time."""

    @classmethod
    def _impl_v9(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        shape = ints_of(inputs[0], "shape")
        if any(size < 0 for size in shape):
            raise ValueError(f"its shape {shape} has a size below 0")
        value = np.zeros((), "float32")
        if "value" in attr:
            value = onnx.numpy_helper.to_array(attr["value"]).reshape(())
        return relax.op.broadcast_to(constant(value), shape) if shape else constant(value)


class EyeLike(Converter):
    """EyeLike: a constant, as its input's shape is static."""

    @classmethod
    def _impl_v9(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        dtype = _dtype_name(attr["dtype"]) if "dtype" in attr else dtype_of(inputs[0])
        rows, columns = shape_of(inputs[0])
        return relax.const(np.eye(rows, columns, attr.get("k", 0)), dtype)


class OneHot(Converter):
    """OneHot with a depth known at build time; negative indices count from the end."""

    @classmethod
    def _impl_v9(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        indices, (depth,) = inputs[0], ints_of(inputs[1], "depth")
        rank = len(shape_of(indices)) + 1
        axis = attr.get("axis", -1) % rank
        classes = np.arange(depth).reshape([-1 if i == axis else 1 for i in range(rank)])
        spread = bb.emit(relax.op.expand_dims(relax.op.astype(indices, "int64"), axis))
        wrapped = relax.op.where(
            relax.op.less(spread, relax.const(0, "int64")),
            relax.op.add(spread, relax.const(depth, "int64")),
            spread,
        )
        hot = relax.op.equal(wrapped, relax.const(classes, "int64"))
        off, on = (
            relax.op.squeeze(relax.op.strided_slice(inputs[2], [0], [i], [i + 1]), [0])
            for i in (0, 1)
        )
        return relax.op.where(hot, on, off)


def _dtype_name(element_type: int) -> str:
    return str(onnx.helper.tensor_dtype_to_np_dtype(element_type))


#: ONNX operator -> converter.
TENSOR = {
    "Cast": Cast,
    "CastLike": CastLike,
    "Constant": Constant,
    "ConstantOfShape": ConstantOfShape,
    "Dropout": Dropout,
    "EyeLike": EyeLike,
    "Gemm": Gemm,
    "LogSoftmax": LogSoftmax,
    "OneHot": OneHot,
    "Resize": Resize,
    "Softmax": Softmax,
    "Upsample": Upsample,
}
