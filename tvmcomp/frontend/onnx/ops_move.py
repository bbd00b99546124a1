"""Our converters of operators that move data: cut, join, repeat, gather, or shape it anew."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.values import array_of, constant, dtype_of, ints_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


class Gather(Converter):
    """Gather, of indices that :mod:`.indices` brought into range."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        axis = attr.get("axis", 0) % len(shape_of(inputs[0]))
        return relax.op.take(inputs[0], inputs[1], axis, mode="clip")


class Slice(Converter):
    """Slice with bounds known at build time."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        starts, ends = list(attr["starts"]), list(attr["ends"])
        axes = list(attr.get("axes", range(len(starts))))
        return cls._slice(inputs[0], starts, ends, axes, [1] * len(starts))

    @classmethod
    def _impl_v10(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        starts, ends = ints_of(inputs[1], "starts"), ints_of(inputs[2], "ends")
        axes = list(range(len(starts))) if inputs[3] is None else ints_of(inputs[3], "axes")
        steps = [1] * len(starts) if inputs[4] is None else ints_of(inputs[4], "steps")
        return cls._slice(inputs[0], starts, ends, axes, steps)

    @classmethod
    def _slice(
        cls, data: Expr, starts: list[int], ends: list[int], axes: list[int], steps: list[int]
    ) -> Any:
        shape = shape_of(data)
        axes = [axis % len(shape) for axis in axes]
        begin, end = [], []
        left = list(shape)
        for axis, start, stop, step in zip(axes, starts, ends, steps, strict=True):
            first, last, _ = slice(start, stop, step).indices(shape[axis])
            left[axis] = len(range(first, last, step))
            begin.append(first)
            # -1 is "past the first" to Python, and "the last" to Relax.
            end.append(last if last >= 0 else -shape[axis] - 1)
        if 0 in left:
            return constant(np.zeros(left, dtype_of(data)))
        if all(b == 0 and e == shape[a] for a, b, e in zip(axes, begin, end, strict=True)) and all(
            step == 1 for step in steps
        ):
            return data
        return relax.op.strided_slice(data, axes, begin, end, steps)


class Split(Converter):
    """Split into parts of sizes known at build time."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        # onnxscript's folder writes the input in older operator sets as well.
        given = list(attr.get("split", ()))
        sizes = given if inputs[1] is None else ints_of(inputs[1], "sizes")
        return cls._split(bb, inputs[0], sizes, attr)

    @classmethod
    def _split(cls, bb: Builder, data: Expr, sizes: list[int], attr: dict[str, Any]) -> Expr:
        shape = shape_of(data)
        axis = attr.get("axis", 0) % len(shape)
        if not sizes:
            parts = attr.get("num_outputs", attr["tvm_custom"]["num_outputs"])
            # All of one size but the last, which may be smaller.
            size = -(-shape[axis] // parts)
            sizes = [size] * (parts - 1) + [shape[axis] - size * (parts - 1)]
        if len(sizes) == 1:
            return data
        if 0 in sizes or 0 in shape:
            ends = [int(end) for end in np.cumsum(sizes)]
            parts = zip([0, *ends], ends, strict=False)
            return relax.Tuple([bb.emit(_part(data, axis, begin, end)) for begin, end in parts])
        return relax.op.split(data, [int(i) for i in np.cumsum(sizes)[:-1]], axis)


def _part(data: Expr, axis: int, begin: int, end: int) -> Any:
    """The elements from ``begin`` to ``end`` along an axis, which may be none."""
    shape = [end - begin if i == axis else size for i, size in enumerate(shape_of(data))]
    if 0 in shape:
        return constant(np.zeros(shape, dtype_of(data)))
    return relax.op.strided_slice(data, [axis], [begin], [end])


class Concat(Converter):
    """Concat; parts without elements are left out."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        parts = [part for part in inputs if 0 not in shape_of(part)] or list(inputs[:1])
        if len(parts) == 1:
            return parts[0]
        axis = attr.get("axis", 1)
        arrays = [array for part in parts if (array := array_of(part)) is not None]
        if len(arrays) == len(parts):
            return constant(np.concatenate(arrays, axis))
        return relax.op.concat(parts, axis)


class Squeeze(Converter):
    """Squeeze: the axes of size 1, or those of them that an attribute or an input names."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        shape = shape_of(inputs[0])
        axes = list(attr.get("axes", ()))
        if inputs[1] is not None:
            axes = ints_of(inputs[1], "axes")
        axes = axes or [i for i, size in enumerate(shape) if size == 1]
        if not all(-len(shape) <= a < len(shape) and shape[a] == 1 for a in axes):
            raise ValueError(f"its axes {axes} are not all axes of size 1 of {shape}")
        gone = {axis % len(shape) for axis in axes}
        return _reshaped(inputs[0], [size for i, size in enumerate(shape) if i not in gone])


class Unsqueeze(Converter):
    """Unsqueeze: new axes, at places that an attribute or an input names."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        axes = list(attr.get("axes", ()))
        if inputs[1] is not None:
            axes = ints_of(inputs[1], "axes")
        shape = shape_of(inputs[0])
        rank = len(shape) + len(axes)
        if not all(-rank <= axis < rank for axis in axes):
            raise ValueError(f"its axes {axes} are not among {rank}")
        new = {axis % rank for axis in axes}
        if len(new) != len(axes):
            raise ValueError(f"its axes {axes} name one twice")
        sizes = iter(shape)
        return _reshaped(inputs[0], [1 if i in new else next(sizes) for i in range(rank)])


def _reshaped(data: Expr, shape: list[int]) -> Any:
    array = array_of(data)
    return constant(array.reshape(shape)) if array is not None else relax.op.reshape(data, shape)


class Tile(Converter):
    """Tile by repeats known at build time."""

    @classmethod
    def _impl_v6(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        repeats = ints_of(inputs[1], "repeats")
        return inputs[0] if set(repeats) <= {1} else relax.op.tile(inputs[0], repeats)


class Reshape(Converter):
    """Reshape to a shape known at build time."""

    @classmethod
    def _impl_v5(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        shape = shape_of(inputs[0])
        wanted = ints_of(inputs[1], "shape")
        if not attr.get("allowzero", 0):
            wanted = [shape[i] if size == 0 else size for i, size in enumerate(wanted)]
        if 0 in shape:
            return constant(np.zeros(shape, dtype_of(inputs[0])).reshape(wanted))
        return relax.op.reshape(inputs[0], wanted)


class Expand(Converter):
    """Expand to a shape known at build time; it may only be broadcast with, never cut."""

    @classmethod
    def _impl_v8(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        shape = shape_of(inputs[0])
        wanted = np.broadcast_shapes(tuple(shape), tuple(ints_of(inputs[1], "shape")))
        if list(wanted) == shape:
            return inputs[0]
        return relax.op.broadcast_to(inputs[0], wanted)


class SpaceToDepth(Converter):
    """SpaceToDepth, with the block before (DCR) or after (CRD) the channels."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        block = attr["blocksize"]
        n, c, h, w = shape_of(inputs[0])
        split = relax.op.reshape(inputs[0], (n, c, h // block, block, w // block, block))
        channels_first = attr.get("mode", b"DCR") == b"CRD"
        order = [0, 1, 3, 5, 2, 4] if channels_first else [0, 3, 5, 1, 2, 4]
        moved = relax.op.permute_dims(split, order)
        return relax.op.reshape(moved, (n, c * block * block, h // block, w // block))


#: ONNX operator -> converter.
MOVE = {
    "Concat": Concat,
    "Expand": Expand,
    "Gather": Gather,
    "Reshape": Reshape,
    "Slice": Slice,
    "SpaceToDepth": SpaceToDepth,
    "Split": Split,
    "Squeeze": Squeeze,
    "Tile": Tile,
    "Unsqueeze": Unsqueeze,
}
