"""Our converters of operators that combine the elements along axes.

In ONNX an empty list of axes is all of them, or none (``noop_with_empty_axes``); what is reduced
along no axis is still a sum of one square, a logarithm of one sum. Results keep the type of the
data: means and roots of integers are rounded toward zero.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.values import constant_like, dtype_of, ints_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs, PrimFunc

relax = tvm.relax


class _Reduction(Converter):
    """Reads the axes, from the attribute or the input; ``_reduce`` says what is combined."""

    #: What comes of no elements at all; the lowest or highest number is meant by infinity.
    nothing: float = 0.0

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        # ReduceSum got the axes as an input in operator set 13, the others in 18.
        axes = list(attr.get("axes", ()))
        if inputs[1] is not None:
            axes = ints_of(inputs[1], "axes")
        data = inputs[0]
        rank = len(shape_of(data))
        if not axes and not attr.get("noop_with_empty_axes", 0):
            axes = list(range(rank))
        if not all(-rank <= axis < rank for axis in axes):
            raise ValueError(f"its axes {axes} are not among the {rank} of its data")
        axes = sorted({axis % rank for axis in axes})
        if 0 in shape_of(data):
            return cls._of_nothing(data, axes, bool(attr.get("keepdims", 1)))
        return cls._reduce(bb, data, axes, bool(attr.get("keepdims", 1)))

    @classmethod
    def _of_nothing(cls, data: Expr, axes: list[int], keepdims: bool) -> Any:
        """The constant that a tensor without elements is reduced to."""
        shape = [
            1 if axis in axes else size
            for axis, size in enumerate(shape_of(data))
            if keepdims or axis not in axes
        ]
        dtype = dtype_of(data)
        value: float = cls.nothing
        if math.isinf(value) and "int" in dtype:
            info = np.iinfo(dtype)
            value = info.min if value < 0 else info.max
        elif dtype == "bool":
            value = value > 0
        elif not math.isfinite(value) and "int" in dtype:
            value = 0
        return constant_like(data, np.full(shape, value))

    @classmethod
    def _reduce(cls, bb: Builder, data: Expr, axes: list[int], keepdims: bool) -> Expr:
        """Return ``data`` reduced along ``axes``, which may be none."""
        raise NotImplementedError


def _sum(data: Expr, axes: list[int], keepdims: bool) -> Any:
    return relax.op.sum(data, axes, keepdims) if axes else data


def _extreme(data: Expr, axes: list[int], keepdims: bool, function: PrimFunc) -> Any:
    """The largest or smallest; of booleans as numbers, for which TIR has none."""
    if not axes:
        return data
    if dtype_of(data) == "bool":
        numbers = relax.op.astype(data, "int8")
        return relax.op.astype(function(numbers, axes, keepdims), "bool")
    return function(data, axes, keepdims)


class ReduceMax(_Reduction):
    """ReduceMax."""

    nothing = -math.inf

    @classmethod
    def _reduce(cls, bb: Builder, data: Expr, axes: list[int], keepdims: bool) -> Expr:
        return _extreme(data, axes, keepdims, relax.op.max)


class ReduceMin(_Reduction):
    """ReduceMin."""

    nothing = math.inf

    @classmethod
    def _reduce(cls, bb: Builder, data: Expr, axes: list[int], keepdims: bool) -> Expr:
        return _extreme(data, axes, keepdims, relax.op.min)


class ReduceSum(_Reduction):
    """ReduceSum."""

    @classmethod
    def _reduce(cls, bb: Builder, data: Expr, axes: list[int], keepdims: bool) -> Expr:
        return _sum(data, axes, keepdims)


class ReduceProd(_Reduction):
    """ReduceProd."""

    nothing = 1.0

    @classmethod
    def _reduce(cls, bb: Builder, data: Expr, axes: list[int], keepdims: bool) -> Expr:
        return relax.op.prod(data, axes, keepdims) if axes else data


class ReduceMean(_Reduction):
    """ReduceMean; of integers the quotient, rounded toward zero."""

    nothing = math.nan

    @classmethod
    def _reduce(cls, bb: Builder, data: Expr, axes: list[int], keepdims: bool) -> Expr:
        if not axes:
            return data
        if "float" in dtype_of(data):
            return relax.op.mean(data, axes, keepdims)
        count = math.prod(shape_of(data)[axis] for axis in axes)
        return relax.op.divide(_sum(data, axes, keepdims), constant_like(data, count))


class ReduceL1(_Reduction):
    """ReduceL1."""

    @classmethod
    def _reduce(cls, bb: Builder, data: Expr, axes: list[int], keepdims: bool) -> Expr:
        return _sum(relax.op.abs(data), axes, keepdims)


class ReduceSumSquare(_Reduction):
    """ReduceSumSquare."""

    @classmethod
    def _reduce(cls, bb: Builder, data: Expr, axes: list[int], keepdims: bool) -> Expr:
        return _sum(relax.op.multiply(data, data), axes, keepdims)


class ReduceL2(_Reduction):
    """ReduceL2."""

    @classmethod
    def _reduce(cls, bb: Builder, data: Expr, axes: list[int], keepdims: bool) -> Expr:
        squares = _sum(relax.op.multiply(data, data), axes, keepdims)
        return in_floats(bb, squares, relax.op.sqrt)


class ReduceLogSum(_Reduction):
    """ReduceLogSum."""

    nothing = -math.inf

    @classmethod
    def _reduce(cls, bb: Builder, data: Expr, axes: list[int], keepdims: bool) -> Expr:
        return in_floats(bb, _sum(data, axes, keepdims), relax.op.log)


class ReduceLogSumExp(_Reduction):
    """ReduceLogSumExp, of differences from the largest, so that nothing overflows."""

    nothing = -math.inf

    @classmethod
    def _reduce(cls, bb: Builder, data: Expr, axes: list[int], keepdims: bool) -> Expr:
        def of_floats(data: Expr) -> Any:
            if not axes:
                return data
            largest = bb.emit(relax.op.max(data, axes, True))
            total = relax.op.sum(relax.op.exp(relax.op.subtract(data, largest)), axes, True)
            result = relax.op.add(relax.op.log(total), largest)
            return result if keepdims else relax.op.squeeze(bb.emit(result), axes)

        return in_floats(bb, data, of_floats)


def in_floats(bb: Builder, data: Expr, function: PrimFunc) -> Expr:
    """Apply ``function``, in double precision where ``data`` are integers; keep their type."""
    data = bb.normalize(data)
    dtype = dtype_of(data)
    if "float" in dtype:
        return function(data)
    wide = bb.emit(relax.op.astype(data, "float64"))
    return relax.op.astype(bb.emit(function(wide)), dtype)


class _ArgReduction(Converter):
    """The index of the largest or smallest, the first of equals or the last."""

    function: Any = None

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        shape = shape_of(data)
        axis = attr.get("axis", 0)
        if not -len(shape) <= axis < len(shape):
            raise ValueError(f"its axis {axis} is not among the {len(shape)} of its data")
        axis %= len(shape)
        keepdims = bool(attr.get("keepdims", 1))
        if not attr.get("select_last_index", 0):
            return cls.function(data, axis, keepdims)
        found = cls.function(bb.emit(relax.op.flip(data, axis)), axis, keepdims)
        return relax.op.subtract(relax.const(shape[axis] - 1, "int64"), found)


class ArgMax(_ArgReduction):
    """ArgMax."""

    function = relax.op.argmax


class ArgMin(_ArgReduction):
    """ArgMin."""

    function = relax.op.argmin


class TopK(Converter):
    """TopK of a number known at build time; sorted also where that is not asked for."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return cls._topk(bb, inputs[0], attr["k"], attr)

    @classmethod
    def _impl_v10(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        (count,) = ints_of(inputs[1], "number of elements")
        return cls._topk(bb, inputs[0], count, attr)

    @staticmethod
    def _topk(bb: Builder, data: Expr, count: int, attr: dict[str, Any]) -> Expr:
        shape = shape_of(data)
        axis = attr.get("axis", -1)
        if not -len(shape) <= axis < len(shape) or not 0 <= count <= shape[axis]:
            raise ValueError(f"it takes {count} elements along axis {axis} of {shape}")
        axis, largest = axis % len(shape), bool(attr.get("largest", 1))
        if count == 1 and shape[axis] > 1:  # what follows the extreme need not be sorted
            extreme = relax.op.argmax if largest else relax.op.argmin
            places = bb.emit(extreme(data, axis, keepdims=True))
            return relax.Tuple([relax.op.gather_elements(data, places, axis), places])
        keys = _sortable(bb, data)
        if keys is data:
            return relax.op.topk(data, count, axis, "both", largest, "int64")
        places = bb.emit(relax.op.topk(keys, count, axis, "indices", largest, "int64"))
        return relax.Tuple([relax.op.gather_elements(data, places, axis), places])


def _sortable(bb: Builder, data: Expr) -> Expr:
    """Numbers in the order of ``data``, of a type that TVM sorts."""
    dtype = dtype_of(data)
    if dtype in ("int16", "uint16"):
        return bb.emit(relax.op.astype(data, "int32"))
    if dtype == "uint32":
        return bb.emit(relax.op.astype(data, "int64"))
    if dtype == "uint64":
        # Without the highest bit's weight the cast is the same number less 2^63.
        shifted = relax.op.bitwise_xor(data, constant_like(data, np.uint64(1 << 63)))
        return bb.emit(relax.op.astype(shifted, "int64"))
    return data


class Hardmax(Converter):
    """Hardmax: one at the first of the largest, else zero; before operator set 13 over all axes
    from ``axis`` on, as one."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        shape = shape_of(inputs[0])
        axis = attr.get("axis", 1)
        first = axis + len(shape) if axis < 0 else axis
        rows = math.prod(shape[:first])
        flat = bb.emit(relax.op.reshape(inputs[0], (rows, math.prod(shape[first:]))))
        return relax.op.reshape(bb.emit(cls._hardmax(bb, flat, 1)), shape)

    @classmethod
    def _impl_v13(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return cls._hardmax(bb, inputs[0], attr.get("axis", -1) % len(shape_of(inputs[0])))

    @staticmethod
    def _hardmax(bb: Builder, data: Expr, axis: int) -> Expr:
        shape = shape_of(data)
        places = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
        found = bb.emit(relax.op.argmax(data, axis, True))
        return relax.op.astype(relax.op.equal(found, relax.const(places, "int64")), dtype_of(data))


#: ONNX operator -> converter.
REDUCE = {
    "ArgMax": ArgMax,
    "ArgMin": ArgMin,
    "Hardmax": Hardmax,
    "ReduceL1": ReduceL1,
    "ReduceL2": ReduceL2,
    "ReduceLogSum": ReduceLogSum,
    "ReduceLogSumExp": ReduceLogSumExp,
    "ReduceMax": ReduceMax,
    "ReduceMean": ReduceMean,
    "ReduceMin": ReduceMin,
    "ReduceProd": ReduceProd,
    "ReduceSum": ReduceSum,
    "ReduceSumSquare": ReduceSumSquare,
    "TopK": TopK,
}
