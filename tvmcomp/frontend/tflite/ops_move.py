"""Operators that move data and compute nothing: in real numbers all the same, so that Q/DQ stand
around them as around all others; :mod:`tvmcomp.passes.integers` moves the integers."""

from __future__ import annotations

import numpy as np

from tvmcomp.frontend.tflite.arrays import MOST_MADE
from tvmcomp.frontend.tflite.call import Call, Converter
from tvmcomp.frontend.tflite.ops_complex import of_parts


def reshape(call: Call) -> None:
    """RESHAPE, to input 1 or to the attribute."""
    if call.has(1):
        target = call.array(1)
    else:
        options = call.options("ReshapeOptions")
        target = np.asarray([options.NewShape(i) for i in range(options.NewShapeLength())])
    array = call.array(0)
    if array is not None and target is not None:
        call.give_array(array.reshape([int(size) for size in target.reshape(-1)]))
        return
    shape = call.ints(1) if target is None else call.w.ints(target)
    zeros = target is not None and (target == 0).any()
    call.give(call.node("Reshape", call.real(0), shape, allowzero=1 if zeros else None))


def squeeze(call: Call) -> None:
    """SQUEEZE: the axes named, or all of size 1."""
    options = call.options("SqueezeOptions")
    axes = [options.SqueezeDims(i) for i in range(options.SqueezeDimsLength())]
    call.give(call.node("Squeeze", call.real(0), *([call.w.ints(axes)] if axes else [])))


def expand_dims(call: Call) -> None:
    """EXPAND_DIMS."""
    call.give(call.node("Unsqueeze", call.real(0), call.ints(1)))


def transpose(call: Call) -> None:
    """TRANSPOSE."""
    axes = [int(axis) for axis in call.constant(1).reshape(-1)]
    array = call.array(0)
    if array is not None and call.tensor(0).quantization is None:
        call.give_array(np.ascontiguousarray(array.transpose(axes)))
    else:
        call.give(call.transposed(call.real(0), axes))


def concatenation(call: Call) -> None:
    """CONCATENATION."""
    options = call.options("ConcatenationOptions")
    parts = [call.real(i) for i in range(len(call.operator.inputs))]
    result = call.node("Concat", *parts, axis=options.Axis())
    call.give(call.activated(result, options.FusedActivationFunction()))


def split(call: Call) -> None:
    """SPLIT into equal parts; the axis comes first."""
    _split(call, 1, int(call.constant(0).reshape(-1)[0]), None)


def split_v(call: Call) -> None:
    """SPLIT_V into parts of the given sizes, of which one may be -1: the rest."""
    axis, sizes = int(call.constant(2).reshape(-1)[0]), call.constant(1).astype(np.int64)
    if (sizes < 0).any():
        whole = call.shape(0)[axis]
        if whole < 0 or (sizes < 0).sum() > 1:
            raise ValueError(f"its parts of {sizes.tolist()} depend on run-time values")
        sizes = np.where(sizes < 0, whole - sizes[sizes >= 0].sum(), sizes)
    _split(call, 0, axis, call.w.ints(sizes))


def _split(call: Call, data: int, axis: int, sizes: str | None) -> None:
    count = len(call.operator.outputs)
    parts = call.w.nodes_of(
        "Split",
        [call.real(data), sizes or ""],
        count,
        axis=axis,
        num_outputs=None if sizes else count,
    )
    for i, part in enumerate(parts):
        call.give(part, i)


def pack(call: Call) -> None:
    """PACK: along a new axis."""
    axis = call.options("PackOptions").Axis()
    count = len(call.operator.inputs)
    parts = [call.node("Unsqueeze", call.real(i), call.w.ints([axis])) for i in range(count)]
    call.give(call.node("Concat", *parts, axis=axis))


def unpack(call: Call) -> None:
    """UNPACK: one output for each index of an axis."""
    axis, count = call.options("UnpackOptions").Axis(), len(call.operator.outputs)
    parts = call.w.nodes_of("Split", [call.real(0)], count, axis=axis, num_outputs=count)
    for i, part in enumerate(parts):
        call.give(call.node("Squeeze", part, call.w.ints([axis])), i)


def pad(call: Call) -> None:
    """PAD and PADV2: with 0, or with input 2."""
    value = call.real(2) if call.has(2) else ""
    if value and call.tensor(2).shape != ():
        value = call.node("Reshape", value, call.w.constant(np.zeros(0, np.int64)))
    pads = call.array(1)
    if pads is not None:
        name = call.w.ints(pads.T)
    else:
        flat = call.node("Transpose", call.stored(1), perm=[1, 0])
        name = call.cast(call.node("Reshape", flat, call.w.ints([-1])), "int64")
    call.give(call.node("Pad", call.real(0), name, value))


def mirror_pad(call: Call) -> None:
    """MIRROR_PAD: with the border (symmetric) or without it (reflect)."""
    symmetric = call.options("MirrorPadOptions").Mode() == 1
    pads = call.constant(1)
    if not symmetric:
        call.give(call.node("Pad", call.real(0), call.w.ints(pads.T), mode="reflect"))
        return
    result = call.real(0)
    for axis, (before, after) in enumerate(pads.astype(int)):
        if before or after:
            size = call.static(0)[axis]
            if max(before, after) > size or min(before, after) < 0 or 3 * size > MOST_MADE:
                raise ValueError(f"it pads an axis of {size} by {before} and {after}")
            places = [*range(before)][::-1], range(size), [*range(size - after, size)][::-1]
            indices = call.w.ints([i for part in places for i in part])
            result = call.node("Gather", result, indices, axis=axis)
    call.give(result)


def tile(call: Call) -> None:
    """TILE."""
    call.give(call.node("Tile", call.real(0), call.ints(1)))


def reverse_sequence(call: Call) -> None:
    """REVERSE_SEQUENCE: the first elements of each sequence."""
    options = call.options("ReverseSequenceOptions")
    lengths = call.cast(call.stored(1), "int64")
    result = call.node(
        "ReverseSequence",
        call.real(0),
        lengths,
        batch_axis=options.BatchDim(),
        time_axis=options.SeqDim(),
    )
    call.give(result)


#: Operator of the source -> converter.
MOVE: dict[str, Converter] = {
    "CONCATENATION": concatenation,
    "EXPAND_DIMS": of_parts(expand_dims),
    "MIRROR_PAD": mirror_pad,
    "PACK": pack,
    "PAD": pad,
    "PADV2": pad,
    "RESHAPE": of_parts(reshape),
    "REVERSE_SEQUENCE": reverse_sequence,
    "SPLIT": split,
    "SPLIT_V": split_v,
    "SQUEEZE": of_parts(squeeze),
    "TILE": tile,
    "TRANSPOSE": of_parts(transpose),
    "UNPACK": unpack,
}
