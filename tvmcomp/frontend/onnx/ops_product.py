"""Our converters of products: MatMul of vectors too, and products of 8-bit integers.

TVM's widen 8-bit operands to 32 bits before they multiply, which no target does well. Ours multiply
the 8-bit numbers as they are and take the zero points' share off the sum:

    (a - za) (b - zb)  =  a b  -  za * sum(b)  -  sum(a) * zb  +  n * za * zb

``b`` is made signed, as dot product instructions want it: by its own zero point where the
differences are 8 bits wide, else by 128. Sums wrap around as ONNX Runtime's do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.ops_nn import explicit_pads
from tvmcomp.frontend.onnx.values import array_of, constant, dtype_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


class MatMul(Converter):
    """MatMul; a vector is a matrix of one row or column."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return of_matrices(bb, inputs[0], inputs[1], relax.op.matmul)


def of_matrices(bb: Builder, left: Expr, right: Expr, product: Any) -> Expr:
    """``product(left, right)`` of matrices, where each may be a vector as for ``numpy.matmul``."""
    first, second = shape_of(left), shape_of(right)
    if len(first) > 1 and len(second) > 1:
        return product(left, right)
    if len(first) == 1:
        left = reshaped(bb, left, [1, *first])
    if len(second) == 1:
        right = reshaped(bb, right, [*second, 1])
    result = bb.emit(product(left, right))
    shape = shape_of(result)
    rows = [] if len(first) == 1 else shape[-2:-1]
    columns = [] if len(second) == 1 else shape[-1:]
    return relax.op.reshape(result, [*shape[:-2], *rows, *columns])


def reshaped(bb: Builder, value: Expr, shape: Sequence[int]) -> Expr:
    """``value`` in another shape, a constant at once."""
    array = array_of(value)
    if array is not None:
        return constant(array.reshape(shape))
    return bb.emit(relax.op.reshape(value, list(shape)))


class MatMulInteger(Converter):
    """MatMulInteger; zero points are single numbers, or one a row and one a column."""

    @classmethod
    def _impl_v10(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        left_zero = _spread(bb, inputs[2], (-1, 1))
        given_zero = _spread(bb, inputs[3], (1, -1))

        def product(left: Expr, right: Expr) -> Any:
            right, right_zero = _signed(bb, right, given_zero)
            depth = shape_of(left)[-1]
            total = bb.emit(relax.op.matmul(left, right, out_dtype="int32"))
            if left_zero is not None:
                share = _times(bb, left_zero, _sum(bb, right, -2))
                total = bb.emit(relax.op.subtract(total, share))
            if right_zero is not None:
                sums = _sum(bb, left, -1)
                if left_zero is not None:
                    whole = _times(bb, left_zero, constant(np.int32(depth)))
                    sums = bb.emit(relax.op.subtract(sums, whole))
                total = bb.emit(relax.op.subtract(total, _times(bb, right_zero, sums)))
            return total

        return of_matrices(bb, inputs[0], inputs[1], product)


class ConvInteger(Converter):
    """ConvInteger; what lies around the data is its zero point."""

    @classmethod
    def _impl_v10(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, weight, data_zero, weight_zero = (inputs[i] for i in range(4))
        shape, kernel = shape_of(data), shape_of(weight)[2:]
        dims = len(kernel)
        if dims not in (1, 2, 3):
            raise ValueError(f"{dims} spatial dimensions are not supported; 1 to 3 are")
        strides = list(attr.get("strides", [1] * dims))
        dilations = list(attr.get("dilations", [1] * dims))
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        geometry = {
            "strides": strides,
            "padding": explicit_pads(attr, shape[2:], extents, strides),
            "dilation": dilations,
            "groups": attr.get("group", 1),
            "out_dtype": "int32",
        }

        def convolve(left: Expr, right: Expr) -> Any:
            return bb.emit(getattr(relax.op.nn, f"conv{dims}d")(left, right, **geometry))

        channels_first = (-1, *(1,) * dims)
        data_zero = _whole(bb, data_zero, ())
        weight_zero = _whole(bb, weight_zero, channels_first)
        weight, weight_zero = _signed(bb, weight, weight_zero, channels_first)
        ones = constant(np.ones(shape_of(weight), "int8"))
        # Beyond the border there is nothing: the differences from the zero point are 0 there.
        inside = constant(np.ones((1, *shape[1:]), dtype_of(data)))
        total = convolve(data, weight)
        if data_zero is not None:
            share = _times(bb, data_zero, _folded(convolve, inside, weight, geometry))
            total = bb.emit(relax.op.subtract(total, share))
        if weight_zero is not None:
            sums = convolve(data, ones)
            if data_zero is not None:
                whole = _times(bb, data_zero, _folded(convolve, inside, ones, geometry))
                sums = bb.emit(relax.op.subtract(sums, whole))
            total = bb.emit(relax.op.subtract(total, _times(bb, weight_zero, sums)))
        return total


def _spread(bb: Builder, zero: Any, shape: tuple[int, int]) -> Expr:
    """A zero point of MatMulInteger as int32 that broadcasts, a vector as a matrix of ``shape``;
    None for zero."""
    if zero is None:
        return None
    given = shape_of(zero)
    return _whole(bb, zero, tuple(given) if len(given) > 1 else shape)


def _whole(bb: Builder, zero: Any, shape: tuple[int, ...]) -> Expr:
    """A zero point as int32, one of several numbers in ``shape``; None for zero."""
    if zero is None:
        return None
    array = array_of(zero)
    if array is not None:
        if not array.any():
            return None
        return constant(array.astype("int32").reshape(shape if array.size > 1 else ()))
    size = int(np.prod(shape_of(zero)))
    wide = bb.emit(relax.op.astype(zero, "int32"))
    return bb.emit(relax.op.reshape(wide, shape if size > 1 else ()))


def _signed(
    bb: Builder, weight: Expr, zero: Any, shape: tuple[int, ...] | None = None
) -> tuple[Any, Any]:
    """``weight`` as int8 and its zero point as int32; None where that is 0 now.

    Args:
        bb: emits.
        weight: int8 or uint8.
        zero: of ``weight``: int32, or None.
        shape: of ``zero`` in the product, where it is not as ``weight`` broadcasts it.
    """
    array, known = array_of(weight), None if zero is None else array_of(zero)
    if array is not None and (zero is None or known is not None):
        offset = 0 if known is None else known
        if shape is not None and np.size(offset) > 1:
            offset = np.reshape(offset, (-1, *(1,) * (array.ndim - 1)))
        differences = array.astype("int32") - offset
        if differences.min(initial=0) >= -128 and differences.max(initial=0) <= 127:
            return constant(differences.astype("int8")), None
    if dtype_of(weight) == "int8":
        return weight, zero
    if array is not None:
        signed = constant((array.astype("int32") - 128).astype("int8"))
    else:
        flipped = bb.emit(relax.op.bitwise_xor(weight, relax.const(128, "uint8")))
        signed = bb.emit(relax.op.astype(flipped, "int8"))
    if zero is None:
        return signed, constant(np.int32(-128))
    if known is not None:
        moved = (known - 128).astype("int32")
        return signed, constant(moved) if moved.any() else None
    return signed, bb.emit(relax.op.subtract(zero, constant(np.int32(128))))


def _sum(bb: Builder, value: Expr, axis: int) -> Expr:
    """The sums of 8-bit numbers along ``axis``, as int32 with the axis kept."""
    array = array_of(value)
    if array is not None:
        return constant(array.sum(axis=axis, keepdims=True, dtype="int32"))
    wide = bb.emit(relax.op.astype(value, "int32"))
    return bb.emit(relax.op.sum(wide, [axis], keepdims=True))


def _times(bb: Builder, a: Any, b: Any) -> Expr:
    first, second = array_of(a), array_of(b)
    if first is not None and second is not None:
        return constant((first * second).astype("int32"))
    return bb.emit(relax.op.multiply(a, b))


def _folded(convolve: Any, inside: Any, weight: Expr, geometry: dict[str, Any]) -> Any:
    """The convolution of ones with ``weight``, a constant where that is one."""
    array = array_of(weight)
    if array is None:
        return convolve(inside, weight)
    spatial = shape_of(inside)[2:]
    dims = len(spatial)
    sums = array.sum(axis=1, dtype="int32")
    for d, (size, taps) in enumerate(zip(spatial, array.shape[2:], strict=True)):
        stride, dilation = geometry["strides"][d], geometry["dilation"][d]
        before, after = (geometry["padding"][d + half * dims] for half in (0, 1))
        steps = (size + before + after - (taps - 1) * dilation - 1) // stride + 1
        reached = np.arange(steps)[:, None] * stride + np.arange(taps) * dilation - before
        within = ((reached >= 0) & (reached < size)).astype("int32")
        # The taps' axis is always the first of those left; the result's go to the end.
        sums = np.tensordot(sums, within, axes=([1], [1]))
    return constant(sums[None])


#: ONNX operator -> converter.
PRODUCTS = {
    "ConvInteger": ConvInteger,
    "MatMul": MatMul,
    "MatMulInteger": MatMulInteger,
}
