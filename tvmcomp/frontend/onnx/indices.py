"""Bring the indices that an operator is given into range, before it reads or writes with them.

ONNX calls an index outside ``-size`` to ``size - 1`` an error. A compiled network doesn't stop in
the middle of an inference, and the memory beyond a tensor is not its own; so

1. a negative index counts from the end, as in ONNX;
2. one that is still outside is clamped: below the first element to the first, past the last to
   the last (docs/onnx.md says so to users);
3. a constant index is checked when the network is built, and costs nothing when it runs;
4. what has no element to read (indices into an axis of size 0) is refused when it is built.

The converters get indices that are non-negative and in range, and need not look again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.values import array_of, constant, dtype_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr

relax = tvm.relax

_Inputs = list[Any]
_Guard = Callable[[_Inputs, dict[str, Any]], _Inputs]


def with_indices_in_range(operator: str, inputs: Sequence[Expr], attr: dict[str, Any]) -> _Inputs:
    """Return the inputs of ``operator``, those that are indices brought into range.

    Raises:
        ValueError: a constant index is out of range, or the shapes of the operands let an index
            that is in range point outside.
    """
    guard = _GUARDS.get(operator)
    return list(inputs) if guard is None else guard(list(inputs), attr)


def in_range(indices: Any, sizes: int | Sequence[int]) -> Any:
    """Return ``indices`` as numbers from 0 to ``size - 1``; negative ones count from the end.

    Args:
        indices: an integer tensor expression.
        sizes: the size of the axis that they point into, or the sizes of the axes that the
            numbers along their last axis point into.

    Raises:
        ValueError: they are constant and one of them is outside, or an axis has no elements.
    """
    limits = np.asarray(sizes, np.int64)
    if 0 in shape_of(indices):
        return indices
    if (limits <= 0).any():
        raise ValueError("it has indices into an axis of size 0")
    array = array_of(indices)
    if array is not None:
        wide = array.astype("int64")
        outside = (wide < -limits) | (wide >= limits)
        if outside.any():
            size = np.broadcast_to(limits, wide.shape)[outside][0]
            raise ValueError(f"its index {wide[outside][0]} is outside {-size} to {size - 1}")
        return constant(np.where(wide < 0, wide + limits, wide).astype(array.dtype))
    dtype = dtype_of(indices)
    size, last, zero = (
        constant(value.astype(dtype)) for value in (limits, limits - 1, np.zeros((), "int64"))
    )
    if not dtype.startswith("uint"):
        counted = relax.op.add(indices, size)
        indices = relax.op.where(relax.op.less(indices, zero), counted, indices)
        indices = relax.op.maximum(indices, zero)
    return relax.op.minimum(indices, last)


def _axis(attr: dict[str, Any], rank: int) -> int:
    axis = int(attr.get("axis", 0))
    if not -rank <= axis < rank:
        raise ValueError(f"its axis {axis} is outside {-rank} to {rank - 1}")
    return axis % rank


def _gather(inputs: _Inputs, attr: dict[str, Any]) -> _Inputs:
    shape = shape_of(inputs[0])
    return [inputs[0], in_range(inputs[1], shape[_axis(attr, len(shape))])]


def _elements(inputs: _Inputs, attr: dict[str, Any]) -> _Inputs:
    """GatherElements, ScatterElements, Scatter: indices as many-dimensional as the data."""
    shape, wanted = shape_of(inputs[0]), shape_of(inputs[1])
    axis = _axis(attr, len(shape))
    if len(wanted) != len(shape):
        raise ValueError(f"its indices have {len(wanted)} dimensions, its data {len(shape)}")
    for other, (size, limit) in enumerate(zip(wanted, shape, strict=True)):
        if other != axis and size > limit:
            raise ValueError(f"its indices {wanted} are larger than its data {shape}")
    if len(inputs) > 2 and shape_of(inputs[2]) != wanted:
        raise ValueError(
            f"its updates {shape_of(inputs[2])} are not of its indices' shape {wanted}"
        )
    return [inputs[0], in_range(inputs[1], shape[axis]), *inputs[2:]]


def _coordinates(inputs: _Inputs, attr: dict[str, Any]) -> _Inputs:
    """GatherND and ScatterND: the numbers along the indices' last axis are one coordinate."""
    shape, wanted = shape_of(inputs[0]), shape_of(inputs[1])
    batch = int(attr.get("batch_dims", 0))
    if not 0 <= batch < min(len(shape), len(wanted)) or shape[:batch] != wanted[:batch]:
        raise ValueError(f"its batch_dims {batch} do not suit data {shape} and indices {wanted}")
    depth = wanted[-1]
    if not 1 <= depth <= len(shape) - batch:
        raise ValueError(f"its indices {wanted} have {depth} numbers each, its data is {shape}")
    if len(inputs) > 2 and shape_of(inputs[2]) != wanted[:-1] + shape[depth:]:
        raise ValueError(
            f"its updates are {shape_of(inputs[2])}, not {wanted[:-1] + shape[depth:]}"
        )
    return [inputs[0], in_range(inputs[1], shape[batch : batch + depth]), *inputs[2:]]


def _roi_align(inputs: _Inputs, attr: dict[str, Any]) -> _Inputs:
    """RoiAlign; the number of samples of a region follows from its size, which is bounded too."""
    shape = shape_of(inputs[0])
    if len(shape) != 4 or len(shape_of(inputs[1])) != 2 or shape_of(inputs[1])[1] != 4:
        raise ValueError(f"its data is {shape} and its regions {shape_of(inputs[1])}")
    if shape_of(inputs[2]) != shape_of(inputs[1])[:1]:
        raise ValueError("it has not one batch index a region")
    regions = _near_the_image(inputs[1], dtype_of(inputs[1]), shape, attr)
    return [inputs[0], regions, in_range(inputs[2], shape[0])]


def _max_roi_pool(inputs: _Inputs, attr: dict[str, Any]) -> _Inputs:
    """MaxRoiPool, where the batch index is the first of a region's five numbers."""
    shape, wanted = shape_of(inputs[0]), shape_of(inputs[1])
    if len(shape) != 4 or len(wanted) != 2 or wanted[1] != 5:
        raise ValueError(f"its data is {shape} and its regions {wanted}")
    dtype = dtype_of(inputs[1])
    batch = relax.op.strided_slice(inputs[1], [1], [0], [1])
    batch = relax.op.clip(_numbers(batch, dtype), *_bounds(0, shape[0] - 1, dtype))
    regions = relax.op.strided_slice(inputs[1], [1], [1], [5])
    regions = _near_the_image(regions, dtype, shape, attr)
    return [inputs[0], relax.op.concat([batch, regions], axis=1)]


#: Regions are cut off this many images away from the image.
_IMAGES = 16


def _near_the_image(regions: Any, dtype: str, shape: list[int], attr: dict[str, Any]) -> Any:
    """Cut coordinates off far outside the image: NaN to 0, and what would take for ever."""
    scale = abs(float(attr.get("spatial_scale", 1.0))) or 1.0
    far = _IMAGES * max(*shape[2:], 1) / scale
    return relax.op.clip(_numbers(regions, dtype), *_bounds(-far, far, dtype))


def _numbers(expr: Expr, dtype: str) -> Any:
    zero = relax.const(0, dtype)
    return relax.op.where(relax.op.isnan(expr), zero, expr)


def _bounds(low: float, high: float, dtype: str) -> tuple[Any, Any]:
    return tvm.tirx.const(low, dtype), tvm.tirx.const(high, dtype)


def _embed_layer_norm(inputs: _Inputs, attr: dict[str, Any]) -> _Inputs:
    """EmbedLayerNormalization: three tables, and the ids of their rows."""
    inputs = inputs + [None] * (9 - len(inputs))
    length, positions = shape_of(inputs[0])[1], shape_of(inputs[3])[0]
    if inputs[8] is None and length > positions:
        raise ValueError(f"its sequence of {length} is longer than its {positions} positions")
    for ids, table in ((0, 2), (1, 4), (8, 3)):
        if inputs[ids] is not None:
            if inputs[table] is None:
                raise ValueError("it has ids of segments and no embedding of them")
            inputs[ids] = in_range(inputs[ids], shape_of(inputs[table])[0])
    return inputs


def _grid_sample(inputs: _Inputs, attr: dict[str, Any]) -> _Inputs:
    """GridSample checks every pixel itself, but divides by the distance of an axis's ends."""
    reflects = attr.get("padding_mode") == b"reflection" and attr.get("align_corners", 0)
    if reflects and 1 in shape_of(inputs[0])[2:]:
        raise ValueError("it reflects between the aligned corners of an axis of size 1")
    return inputs


_GUARDS: dict[str, _Guard] = {
    "EmbedLayerNormalization": _embed_layer_norm,
    "Gather": _gather,
    "GatherElements": _elements,
    "GatherND": _coordinates,
    "GridSample": _grid_sample,
    "MaxRoiPool": _max_roi_pool,
    "RoiAlign": _roi_align,
    "Scatter": _elements,
    "ScatterElements": _elements,
    "ScatterND": _coordinates,
}
