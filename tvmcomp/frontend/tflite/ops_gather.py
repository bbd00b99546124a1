"""Operators that take or place elements by indices."""

from __future__ import annotations

import numpy as np

from tvmcomp.frontend.tflite.call import Call, Converter


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


def top_k(call: Call) -> None:
    """TOPK_V2 along the last axis."""
    count = call.ints(1)
    values, places = call.w.nodes_of("TopK", [call.real(0), count], 2, axis=-1)
    call.give(values)
    call.give_stored(call.cast(places, call.out(1).dtype), 1)


#: Operator of the source -> converter.
GATHER: dict[str, Converter] = {
    "DYNAMIC_UPDATE_SLICE": dynamic_update_slice,
    "EMBEDDING_LOOKUP": embedding_lookup,
    "GATHER": gather,
    "GATHER_ND": gather_nd,
    "ONE_HOT": one_hot,
    "SCATTER_ND": scatter_nd,
    "SELECT": select,
    "SELECT_V2": select_v2,
    "SPARSE_TO_DENSE": sparse_to_dense,
    "TOPK_V2": top_k,
    "WHERE": where,
}
