"""Our converters of sequences whose length is known at build time: plain lists of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.values import TensorSequence, array_of, ints_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


def _tensors(value: Expr) -> list[Any]:
    """The tensors of an input that must be a sequence."""
    if not isinstance(value, TensorSequence):
        raise ValueError("its input is not a sequence of a length that is known at build time")
    return list(value.tensors)


def _position(value: Expr, default: int, length: int, what: str) -> int:
    """A place from 0 to ``length - 1``, given as a constant, from either end, or left out."""
    if value is None:
        return default
    (position,) = ints_of(value, "position")
    if not -length <= position < length:
        raise ValueError(f"its position {position} is outside a sequence of {length} {what}")
    return position % length


class SequenceConstruct(Converter):
    """SequenceConstruct."""

    @classmethod
    def _impl_v11(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return TensorSequence(list(inputs))


class SequenceEmpty(Converter):
    """SequenceEmpty."""

    @classmethod
    def _impl_v11(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return TensorSequence([])


class SequenceInsert(Converter):
    """SequenceInsert, at a place known at build time; without one, at the end."""

    @classmethod
    def _impl_v11(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        tensors = _tensors(inputs[0])
        length = len(tensors)
        if inputs[2] is None:
            place = length
        else:
            (given,) = ints_of(inputs[2], "position")
            if not -length <= given <= length:
                raise ValueError(f"its position {given} is outside a sequence of {length} tensors")
            place = given + length if given < 0 else given
        return TensorSequence([*tensors[:place], inputs[1], *tensors[place:]])


class SequenceErase(Converter):
    """SequenceErase, at a place known at build time; without one, at the end."""

    @classmethod
    def _impl_v11(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        tensors = _tensors(inputs[0])
        if not tensors:
            raise ValueError("there is nothing to erase in an empty sequence")
        place = _position(inputs[1], len(tensors) - 1, len(tensors), "tensors")
        return TensorSequence([*tensors[:place], *tensors[place + 1 :]])


class SequenceAt(Converter):
    """SequenceAt, at a place known at build time."""

    @classmethod
    def _impl_v11(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        tensors = _tensors(inputs[0])
        return tensors[_position(inputs[1], 0, len(tensors), "tensors")]


class SequenceLength(Converter):
    """SequenceLength: a constant."""

    @classmethod
    def _impl_v11(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return relax.const(len(_tensors(inputs[0])), "int64")


class ConcatFromSequence(Converter):
    """ConcatFromSequence, along an axis there is or a new one."""

    @classmethod
    def _impl_v11(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        tensors = _tensors(inputs[0])
        if not tensors:
            raise ValueError("there is nothing to concatenate in an empty sequence")
        new_axis = bool(attr.get("new_axis", 0))
        rank = len(shape_of(tensors[0])) + new_axis
        axis = attr["axis"]
        if not -rank <= axis < rank:
            raise ValueError(f"its axis {axis} is outside {-rank} to {rank - 1}")
        if new_axis:
            tensors = [bb.emit(relax.op.expand_dims(tensor, axis % rank)) for tensor in tensors]
        return tensors[0] if len(tensors) == 1 else relax.op.concat(tensors, axis % rank)


class SplitToSequence(Converter):
    """SplitToSequence into parts of one size, of given sizes, or of one element each."""

    @classmethod
    def _impl_v11(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        shape = shape_of(data)
        axis = attr.get("axis", 0)
        if not -len(shape) <= axis < len(shape):
            raise ValueError(f"its axis {axis} is outside {-len(shape)} to {len(shape) - 1}")
        axis %= len(shape)
        cuts = cls._cuts(inputs[1], shape[axis])
        parts = [
            cls._part(bb, data, axis, begin, end, shape[axis])
            for begin, end in zip([0, *cuts], [*cuts, shape[axis]], strict=True)
        ]
        if inputs[1] is None and not attr.get("keepdims", 1):
            parts = [bb.emit(relax.op.squeeze(part, [axis])) for part in parts]
        return TensorSequence(parts)

    @staticmethod
    def _cuts(split: Any, size: int) -> list[int]:
        """Where the axis is cut, its ends not among them."""
        if split is None:
            return list(range(1, size))
        sizes = ints_of(split, "sizes")
        array = array_of(split)
        if array is not None and array.ndim == 0:
            if sizes[0] < 1:
                raise ValueError(f"its parts have {sizes[0]} elements each")
            return list(range(sizes[0], size, sizes[0]))
        if sum(sizes) != size or min(sizes, default=0) < 0:
            raise ValueError(f"its sizes {sizes} are not parts of an axis of {size}")
        return [int(end) for end in np.cumsum(sizes)[:-1]]

    @staticmethod
    def _part(bb: Builder, data: Expr, axis: int, begin: int, end: int, size: int) -> Expr:
        if (begin, end) == (0, size):
            return data
        return bb.emit(relax.op.strided_slice(data, [axis], [begin], [end]))


#: ONNX operator -> converter.
SEQUENCE = {
    "ConcatFromSequence": ConcatFromSequence,
    "SequenceAt": SequenceAt,
    "SequenceConstruct": SequenceConstruct,
    "SequenceEmpty": SequenceEmpty,
    "SequenceErase": SequenceErase,
    "SequenceInsert": SequenceInsert,
    "SequenceLength": SequenceLength,
    "SplitToSequence": SplitToSequence,
}
