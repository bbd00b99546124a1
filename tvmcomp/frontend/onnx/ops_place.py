"""Our converters of operators that move elements to places that lengths or conditions say."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.values import array_of, constant, constant_like, dtype_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax, te, tirx = tvm.relax, tvm.te, tvm.tirx


class Compress(Converter):
    """Compress by a condition that is known at build time: how much is left is a shape."""

    @classmethod
    def _impl_v9(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, condition = inputs[0], array_of(inputs[1])
        if condition is None:
            raise ValueError(
                "its condition is computed when the network runs, and says how many elements it "
                "gives"
            )
        axis = attr.get("axis")
        if axis is None:
            data = bb.emit(relax.op.reshape(data, (int(np.prod(shape_of(data))),)))
            axis = 0
        shape = shape_of(data)
        # What it says beyond the end is not looked at.
        chosen = np.flatnonzero(condition.reshape(-1)[: shape[axis]])
        if not chosen.size:
            shape[axis] = 0
            return constant(np.zeros(shape, dtype_of(data)))
        return relax.op.take(data, constant(chosen), axis % len(shape), mode="clip")


class ReverseSequence(Converter):
    """ReverseSequence: the first elements of each sequence of a batch backward."""

    @classmethod
    def _impl_v10(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, lengths = inputs[0], inputs[1]
        batch, time = attr.get("batch_axis", 1), attr.get("time_axis", 0)
        shape = shape_of(data)
        if {batch, time} != {0, 1} or len(shape) < 2 or shape_of(lengths) != [shape[batch]]:
            raise ValueError(
                f"its batch_axis {batch} and time_axis {time} do not go with data {shape} and "
                f"lengths {shape_of(lengths)}"
            )
        known = array_of(lengths)
        if known is not None and ((known < 0) | (known > shape[time])).any():
            raise ValueError(f"a length of it is not among 0 to {shape[time]}")

        def compute(x: Any, ends: Any) -> Any:
            def element(*at: Any) -> Any:
                length = tirx.min(ends(at[batch]), tirx.const(shape[time], ends.dtype))
                place = length.astype("int32") - 1 - at[time]
                source = [*at]
                source[time] = tirx.Select(place >= 0, place, at[time])
                return x(*source)

            return te.compute(x.shape, element, name="reversed")

        return bb.emit_te(compute, data, lengths)


class TensorScatter(Converter):
    """TensorScatter: a cache with an update in it, from a place on that is each batch's own."""

    @classmethod
    def _impl_v24(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        cache, update, starts = inputs[0], inputs[1], inputs[2]
        shape, new = shape_of(cache), shape_of(update)
        axis = attr.get("axis", -2)
        if not -len(shape) <= axis < len(shape) or axis % len(shape) == 0:
            raise ValueError(f"its axis {axis} is not one of its data, or that of batches")
        axis %= len(shape)
        size, length = shape[axis], new[axis]
        if [*new[:axis], size, *new[axis + 1 :]] != shape or length > size:
            raise ValueError(f"its update {new} does not go with its cache {shape}")
        circular = attr.get("mode", b"linear") == b"circular"
        if starts is None:
            starts = constant(np.zeros(shape[0], "int64"))

        def compute(x: Any, fresh: Any, begins: Any) -> Any:
            def element(*at: Any) -> Any:
                most = tirx.const(size - 1 if circular else size - length, begins.dtype)
                begin = tirx.max(tirx.min(begins(at[0]), most), tirx.const(0, begins.dtype))
                place = at[axis] - begin.astype("int32")
                if circular:
                    place = tirx.Select(place < 0, place + size, place)
                inside = tirx.all(place >= 0, place < length)
                source = [*at]
                source[axis] = tirx.max(tirx.min(place, length - 1), 0)
                return tirx.if_then_else(inside, fresh(*source), x(*at))

            return te.compute(x.shape, element, name="scattered")

        return bb.emit_te(compute, cache, update, starts)


class CenterCropPad(Converter):
    """CenterCropPad: the middle of each axis, or it in the middle of zeros."""

    @classmethod
    def _impl_v18(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, sizes = inputs[0], array_of(inputs[1])
        if sizes is None:
            raise ValueError("its shape must be known at build time, not computed by the network")
        shape = shape_of(data)
        axes = [axis % len(shape) for axis in attr.get("axes", range(len(shape)))]
        if len(axes) != sizes.size or (sizes < 0).any():
            raise ValueError(f"its shape is {sizes.tolist()}, for {len(axes)} axes")
        wanted = dict(zip(axes, map(int, sizes), strict=True))
        cut = {axis: size for axis, size in wanted.items() if size < shape[axis]}
        if cut:
            begins = [(shape[axis] - size) // 2 for axis, size in cut.items()]
            ends = [begin + size for begin, size in zip(begins, cut.values(), strict=True)]
            data = bb.emit(relax.op.strided_slice(data, list(cut), begins, ends))
        widths = [max(wanted.get(axis, 0) - size, 0) for axis, size in enumerate(shape)]
        if not any(widths):
            return data
        pads = [side for width in widths for side in (width // 2, width - width // 2)]
        return relax.op.nn.pad(data, pads, "constant", 0.0)


class BitCast(Converter):
    """BitCast to a type of the same size."""

    @classmethod
    def _impl_v26(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        source = np.dtype(dtype_of(data))
        to = onnx.helper.tensor_dtype_to_np_dtype(attr["to"])
        if source.itemsize != to.itemsize:
            raise ValueError(f"it reads the bits of {source} as {to}, which is of another size")
        if "bool" in (str(source), str(to)):
            middle = bb.emit(relax.op.astype(data, "uint8"))
            return relax.op.astype(middle, str(to))

        def compute(x: Any) -> Any:
            return te.compute(
                x.shape, lambda *at: tirx.reinterpret(str(to), x(*at)), name="bit_cast"
            )

        return data if source == to else bb.emit_te(compute, data)


class Det(Converter):
    """Det of small matrices, by elimination of the row with the largest pivot."""

    most = 8

    @classmethod
    def _impl_v11(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        shape = shape_of(data)
        size = shape[-1]
        if len(shape) < 2 or shape[-2] != size or not 1 <= size <= cls.most:
            raise ValueError(f"its data of shape {shape} is no square matrix of up to {cls.most}")
        determinant: Any = constant_like(data, 1.0)
        for left in range(size, 0, -1):
            column = bb.emit(relax.op.abs(relax.op.strided_slice(data, [-1], [0], [1])))
            pivot = bb.emit(relax.op.argmax(column, -2, True))
            # The pivot's row is exchanged for the first, which changes the sign.
            places = constant(np.arange(left).reshape(-1, 1))
            is_pivot = bb.emit(relax.op.equal(pivot, places))
            none = constant_like(data, 0.0)
            chosen = relax.op.where(is_pivot, data, none)
            row = bb.emit(relax.op.sum(chosen, [-2], True))
            head = bb.emit(relax.op.strided_slice(row, [-1], [0], [1]))
            first = relax.op.equal(pivot, constant(np.zeros((), "int64")))
            sign = relax.op.where(first, constant_like(data, 1.0), constant_like(data, -1.0))
            determinant = bb.emit(relax.op.multiply(determinant, relax.op.multiply(head, sign)))
            if left == 1:
                break
            top = relax.op.strided_slice(data, [-2], [0], [1])
            swapped = bb.emit(relax.op.where(is_pivot, top, data))
            rest = bb.emit(relax.op.strided_slice(swapped, [-2], [1], [left]))
            lead = bb.emit(relax.op.strided_slice(rest, [-1], [0], [1]))
            zero = relax.op.equal(head, none)
            safe = relax.op.where(zero, constant_like(data, 1.0), head)
            factors = bb.emit(relax.op.divide(lead, safe))
            reduced = relax.op.subtract(rest, relax.op.multiply(factors, row))
            data = bb.emit(relax.op.strided_slice(bb.emit(reduced), [-1], [1], [left]))
        return relax.op.reshape(determinant, shape[:-2])


#: ONNX operator -> converter.
PLACE = {
    "BitCast": BitCast,
    "CenterCropPad": CenterCropPad,
    "Compress": Compress,
    "Det": Det,
    "ReverseSequence": ReverseSequence,
    "TensorScatter": TensorScatter,
}
