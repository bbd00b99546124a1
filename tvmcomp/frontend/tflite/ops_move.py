"""Operators that move data and compute nothing: in real numbers all the same, so that Q/DQ stand
around them as around all others; :mod:`tvmcomp.passes.integers` moves the integers."""

from __future__ import annotations

import numpy as np

from tvmcomp.frontend.tflite.call import MOST_MADE, Call
from tvmcomp.frontend.tflite.writer import onnx_type


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


def slice_(call: Call) -> None:
    """SLICE: from ``begin``, ``size`` elements; -1 is all that are left."""
    begin, size = call.array(1), call.array(2)
    if size is not None and (size < 0).all():
        ends = call.w.ints(np.full(size.shape, _INT64.max))
    elif begin is not None and size is not None:
        ends = call.w.ints(np.where(size < 0, _INT64.max, begin.astype(np.int64) + size))
    else:
        sizes, all_left = call.ints(2), call.w.ints([_INT64.max])
        summed = call.node("Add", call.ints(1), sizes)
        ends = call.node("Where", call.node("Less", sizes, call.w.ints([0])), all_left, summed)
    axes = call.w.ints([*range(call.rank(0))])
    call.give(call.node("Slice", call.real(0), call.ints(1), ends, axes))


_INT64 = np.iinfo(np.int64)


def strided_slice(call: Call) -> None:
    """STRIDED_SLICE: numpy's indexing, with bits for what each index is.

    ``begin``, ``end`` and ``strides`` have an entry for each index: a range of an axis, one
    element of it (shrink: the axis goes), a new axis, or an ellipsis (all axes in between).
    """
    options = call.options("StridedSliceOptions")
    begin, end, strides = call.array(1), call.array(2), call.constant(3).reshape(-1)
    entries, rank = len(strides), call.rank(0)
    given = [
        options.BeginMask(),
        options.EndMask(),
        options.ShrinkAxisMask(),
        options.NewAxisMask(),
        options.EllipsisMask(),
    ]
    no_begin, no_end, shrink, new, ellipsis = (
        [bool(mask >> i & 1) for i in range(entries)] for mask in given
    )
    skipped = rank - sum(not (new[i] or ellipsis[i]) for i in range(entries))
    if skipped < 0 or sum(ellipsis) > 1:
        raise ValueError(f"it has more indices than the {rank} axes of its data")
    axes, sources, shrunk, inserted = [], [], [], []
    axis = place = 0  # of the data, and of the result before its axes shrink
    for i in range(entries):
        if ellipsis[i]:
            axis, place = axis + skipped, place + skipped
        elif new[i]:
            inserted.append(place)
            place += 1
        else:
            if not (no_begin[i] and no_end[i] and strides[i] == 1 and not shrink[i]):
                axes.append(axis)
                sources.append(i)
            if shrink[i]:
                shrunk.append(place)
            axis, place = axis + 1, place + 1
    result = call.real(0)
    if axes:
        steps = [1 if shrink[i] else int(strides[i]) for i in sources]
        starts = _bounds(
            call,
            1,
            begin,
            [
                (_INT64.max if step < 0 else 0) if no_begin[i] and not shrink[i] else None
                for i, step in zip(sources, steps, strict=True)
            ],
            sources,
        )
        if any(shrink[i] for i in sources) and begin is None:
            ends = _ends_of_one(call, starts, end, sources, shrink, no_end, steps)
        else:
            ends = _bounds(
                call,
                2,
                end,
                [
                    _end(begin, i, step, shrink[i], no_end[i])
                    for i, step in zip(sources, steps, strict=True)
                ],
                sources,
            )
        result = call.node("Slice", result, starts, ends, call.w.ints(axes), call.w.ints(steps))
    if inserted:
        result = call.node("Unsqueeze", result, call.w.ints(inserted))
    if shrunk:
        result = call.node("Squeeze", result, call.w.ints(shrunk))
    call.give(result)


def _end(begin: np.ndarray | None, i: int, step: int, shrunk: bool, open_: bool) -> int | None:
    """Where a range ends, if the file says so itself; None: at the entry of ``end``."""
    if shrunk:
        assert begin is not None
        after = int(begin.reshape(-1)[i]) + 1
        return after or _INT64.max
    if open_:
        return _INT64.min if step < 0 else _INT64.max
    return None


def _bounds(
    call: Call, number: int, array: np.ndarray | None, fixed: list[int | None], sources: list[int]
) -> str:
    """A vector of bounds: what is ``fixed``, and the entries ``sources`` of an input elsewhere."""
    if array is not None or None not in fixed:
        flat = array.reshape(-1) if array is not None else np.zeros(max(sources) + 1, np.int64)
        pairs = zip(fixed, sources, strict=True)
        return call.w.ints([int(flat[i]) if bound is None else bound for bound, i in pairs])
    taken = call.node("Gather", call.ints(number), call.w.ints(sources))
    if all(bound is None for bound in fixed):
        return taken
    known = call.w.constant(np.array([bound is not None for bound in fixed]))
    return call.node("Where", known, call.w.ints([bound or 0 for bound in fixed]), taken)


def _ends_of_one(
    call: Call,
    starts: str,
    end: np.ndarray | None,
    sources: list[int],
    shrink: list[bool],
    no_end: list[bool],
    steps: list[int],
) -> str:
    """Ends where the element that an axis shrinks to is known at run time only."""
    other = _bounds(
        call,
        2,
        end,
        [
            _INT64.min if no_end[i] and step < 0 else _INT64.max if no_end[i] else None
            for i, step in zip(sources, steps, strict=True)
        ],
        sources,
    )
    after = call.node("Add", starts, call.w.ints([1]))
    after = call.node(
        "Where", call.node("Equal", after, call.w.ints([0])), call.w.ints([_INT64.max]), after
    )
    one = call.w.constant(np.array([shrink[i] for i in sources]))
    return call.node("Where", one, after, other)


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


def broadcast_to(call: Call) -> None:
    """BROADCAST_TO."""
    call.give(call.node("Expand", call.real(0), call.ints(1)))


def broadcast_args(call: Call) -> None:
    """BROADCAST_ARGS: the shape that two shapes broadcast to."""
    left, right = call.constant(0), call.constant(1)
    call.give_array(np.asarray(np.broadcast_shapes(tuple(left), tuple(right)), left.dtype))


def gather(call: Call) -> None:
    """GATHER along an axis, for each index of the first ``batch_dims`` axes by itself."""
    options = call.options("GatherOptions")
    axis, batch = options.Axis(), options.BatchDims()
    if batch < 0:
        batch += call.rank(1)
    if not batch:
        call.give(call.node("Gather", call.real(0), call.stored(1), axis=axis))
        return
    if (axis % call.rank(0)) != batch:
        raise ValueError(f"an axis of {axis} with {batch} batch dimensions is not supported")
    indices = call.node("Unsqueeze", call.stored(1), call.w.ints([-1]))
    indices = call.cast(indices, "int64")
    call.give(call.node("GatherND", call.real(0), indices, batch_dims=batch))


def gather_nd(call: Call) -> None:
    """GATHER_ND."""
    call.give(call.node("GatherND", call.real(0), call.cast(call.stored(1), "int64")))


def embedding_lookup(call: Call) -> None:
    """EMBEDDING_LOOKUP: rows of a table; the indices come first."""
    call.give(call.node("Gather", call.real(1), call.stored(0), axis=0))


def scatter_nd(call: Call) -> None:
    """SCATTER_ND: add up updates in a tensor of zeros."""
    zeros = call.node("Expand", call.number(0, 1), call.ints(2))
    places = call.cast(call.stored(0), "int64")
    call.give(call.node("ScatterND", zeros, places, call.real(1), reduction="add"))


def sparse_to_dense(call: Call) -> None:
    """SPARSE_TO_DENSE: values at places of a tensor that has a default elsewhere."""
    dense = call.node("Expand", call.real(3), call.ints(1))
    places = call.constant(0).astype(np.int64)
    places = places.reshape(-1, 1) if places.ndim < 2 else places
    values = call.node("Expand", call.real(2), call.w.ints([len(places)]))
    call.give(call.node("ScatterND", dense, call.w.constant(places), values))


def dynamic_update_slice(call: Call) -> None:
    """DYNAMIC_UPDATE_SLICE: an update of whole rows, from a row that may be known at run time."""
    shape, update = call.static(0), call.static(1)
    if shape[1:] != update[1:]:
        raise ValueError(f"an update of {list(update)} in {list(shape)} is not supported")
    start = call.node("Slice", call.ints(2), call.w.ints([0]), call.w.ints([1]))
    # What would not fit begins early enough to fit.
    start = call.node("Min", start, call.w.ints([shape[0] - update[0]]))
    start = call.node("Max", start, call.w.ints([0]))
    rows = call.node("Add", start, call.w.ints([*range(update[0])]))
    rows = call.node("Unsqueeze", rows, call.w.ints([1]))
    call.give(call.node("ScatterND", call.real(0), rows, call.real(1)))


def reverse_v2(call: Call) -> None:
    """REVERSE_V2."""
    axes = call.constant(1).reshape(-1)
    ones = np.ones(len(axes), np.int64)
    bounds = [call.w.ints(ones * value) for value in (-1, _INT64.min)]
    call.give(call.node("Slice", call.real(0), *bounds, call.w.ints(axes), call.w.ints(-ones)))


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


def shape(call: Call) -> None:
    """SHAPE."""
    known = call.tensor(0).shape
    dtype = call.out().dtype
    if known is not None and min(known, default=0) >= 0:
        call.give_array(np.asarray(known, dtype))
        return
    result = call.node("Shape", call.stored(0))
    call.give_stored(result if dtype == np.int64 else call.cast(result, dtype))


def rank(call: Call) -> None:
    """RANK."""
    call.give_array(np.asarray(call.rank(0), np.int32))


def range_(call: Call) -> None:
    """RANGE."""
    parts = [call.stored(i) for i in range(3)]
    call.give_stored(call.node("Range", *parts))


def fill(call: Call) -> None:
    """FILL a shape with a number."""
    call.give(call.node("Expand", call.real(1), call.ints(0)))


def one_hot(call: Call) -> None:
    """ONE_HOT."""
    axis = call.options("OneHotOptions").Axis()
    depth = call.ints(1)
    pair = [call.node("Reshape", call.real(i), call.w.ints([1])) for i in (3, 2)]
    values = call.node("Concat", *pair, axis=0)
    call.give(call.node("OneHot", call.cast(call.stored(0), "int64"), depth, values, axis=axis))


def where(call: Call) -> None:
    """WHERE: the places that are not 0."""
    call.give_stored(call.transposed(call.node("NonZero", call.stored(0)), [1, 0]))


def select(call: Call) -> None:
    """SELECT: a condition of one axis chooses rows."""
    condition = call.stored(0)
    if call.rank(0) == 1 and call.rank(1) > 1:
        ones = [1] * (call.rank(1) - 1)
        condition = call.node("Reshape", condition, call.w.ints([-1, *ones]))
    call.give(call.node("Where", condition, call.real(1), call.real(2)))


def select_v2(call: Call) -> None:
    """SELECT_V2: all three broadcast."""
    call.give(call.node("Where", call.stored(0), call.real(1), call.real(2)))


def cast(call: Call) -> None:
    """CAST."""
    dtype = call.out().dtype
    array = call.array(0)
    if array is not None and dtype is not None and dtype.kind in "iufb":
        call.give_array(array.astype(dtype))
        return
    call.give_stored(call.node("Cast", call.stored(0), to=onnx_type(dtype)))


def top_k(call: Call) -> None:
    """TOPK_V2 along the last axis."""
    count = call.ints(1)
    values, places = call.w.nodes_of("TopK", [call.real(0), count], 2, axis=-1)
    call.give(values)
    call.give_stored(call.cast(places, call.out(1).dtype), 1)


def _diagonal(size: int) -> np.ndarray:
    if size * size > MOST_MADE:
        raise ValueError(f"matrices of {size} x {size} are too large")
    return np.eye(size, dtype=bool)


def matrix_diag(call: Call) -> None:
    """MATRIX_DIAG: vectors as diagonals of square matrices."""
    size = call.static(0)[-1]
    rows = call.node("Unsqueeze", call.real(0), call.w.ints([-1]))
    diagonal = call.w.constant(_diagonal(size))
    call.give(call.node("Where", diagonal, rows, call.number(0)))


def matrix_set_diag(call: Call) -> None:
    """MATRIX_SET_DIAG."""
    rows, columns = call.static(0)[-2:]
    if rows != columns:
        raise ValueError(f"matrices of {rows} x {columns} are not supported")
    diagonal = call.w.constant(_diagonal(rows))
    values = call.node("Unsqueeze", call.real(1), call.w.ints([-1]))
    call.give(call.node("Where", diagonal, values, call.real(0)))


#: Operator of the source -> converter.
MOVE = {
    "BROADCAST_ARGS": broadcast_args,
    "BROADCAST_TO": broadcast_to,
    "CAST": cast,
    "CONCATENATION": concatenation,
    "DYNAMIC_UPDATE_SLICE": dynamic_update_slice,
    "EMBEDDING_LOOKUP": embedding_lookup,
    "EXPAND_DIMS": expand_dims,
    "FILL": fill,
    "GATHER": gather,
    "GATHER_ND": gather_nd,
    "MATRIX_DIAG": matrix_diag,
    "MATRIX_SET_DIAG": matrix_set_diag,
    "MIRROR_PAD": mirror_pad,
    "ONE_HOT": one_hot,
    "PACK": pack,
    "PAD": pad,
    "PADV2": pad,
    "RANGE": range_,
    "RANK": rank,
    "RESHAPE": reshape,
    "REVERSE_SEQUENCE": reverse_sequence,
    "REVERSE_V2": reverse_v2,
    "SCATTER_ND": scatter_nd,
    "SELECT": select,
    "SELECT_V2": select_v2,
    "SHAPE": shape,
    "SLICE": slice_,
    "SPARSE_TO_DENSE": sparse_to_dense,
    "SPLIT": split,
    "SPLIT_V": split_v,
    "SQUEEZE": squeeze,
    "STRIDED_SLICE": strided_slice,
    "TILE": tile,
    "TOPK_V2": top_k,
    "TRANSPOSE": transpose,
    "UNPACK": unpack,
    "WHERE": where,
}
