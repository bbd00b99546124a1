"""SLICE and STRIDED_SLICE."""

from __future__ import annotations

import numpy as np

from tvmcomp.frontend.tflite.call import Call, Converter


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


def reverse_v2(call: Call) -> None:
    """REVERSE_V2."""
    axes = call.constant(1).reshape(-1)
    ones = np.ones(len(axes), np.int64)
    bounds = [call.w.ints(ones * value) for value in (-1, _INT64.min)]
    call.give(call.node("Slice", call.real(0), *bounds, call.w.ints(axes), call.w.ints(-ones)))


#: Operator of the source -> converter.
SLICE: dict[str, Converter] = {
    "REVERSE_V2": reverse_v2,
    "SLICE": slice_,
    "STRIDED_SLICE": strided_slice,
}
