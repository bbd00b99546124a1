"""Operators that move elements, and compute none."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from tvmcomp.compress.operators.table import Node, Tensor, numbers, operator, torch_dtype

_FAR = 2**62


@operator("Reshape", settings=(1,))
def _reshape(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    sizes = numbers(shape)
    if not node.get("allowzero", 0):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x.reshape(sizes)


@operator("Flatten")
def _flatten(node: Node, x: Tensor) -> Tensor:
    axis = node["axis"] % x.ndim if node["axis"] < 0 else node["axis"]
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Transpose")
def _transpose(node: Node, x: Tensor) -> Tensor:
    return x.permute(node.get("perm", list(reversed(range(x.ndim)))))


def _axes(node: Node, axes: Tensor | None) -> list[int]:
    return list(node["axes"]) if axes is None and "axes" in node.attributes else numbers(axes)


@operator("Squeeze", settings=(1,))
def _squeeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = _axes(node, axes)
    return x.squeeze(tuple(chosen)) if chosen else x.squeeze()


@operator("Unsqueeze", settings=(1,))
def _unsqueeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = _axes(node, axes)
    rank = x.ndim + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        x = x.unsqueeze(axis)
    return x


@operator("Concat")
def _concat(node: Node, *inputs: Tensor) -> Tensor:
    return torch.cat(inputs, node["axis"])


@operator("Split", settings=(1,))
def _split(node: Node, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    parts = numbers(sizes) or list(node.get("split", []))
    if not parts:
        count, whole = len(node.outputs), x.shape[node["axis"]]
        size = -(-whole // count)
        parts = [size] * (count - 1) + [whole - size * (count - 1)]
    return torch.split(x, parts, node["axis"])


@operator("Slice", settings=(1, 2, 3, 4))
def _slice(
    node: Node,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    begin = numbers(starts) or list(node.get("starts", []))
    end = numbers(ends) or list(node.get("ends", []))
    chosen = _axes(node, axes) if axes is not None or "axes" in node.attributes else []
    chosen = chosen or list(range(len(begin)))
    strides = numbers(steps) or [1] * len(begin)
    for axis, first, last, step in zip(chosen, begin, end, strides, strict=True):
        size = x.shape[axis]
        if step > 0:
            index = range(*slice(max(first, -_FAR), min(last, _FAR), step).indices(size))
        else:
            stop = None if last <= -size - 1 else last
            index = range(*slice(first, stop, step).indices(size))
        x = x.index_select(axis, torch.tensor(list(index), dtype=torch.int64, device=x.device))
    return x


@operator("Pad", settings=(1, 2, 3))
def _pad(
    node: Node,
    x: Tensor,
    pads: Tensor | None = None,
    value: Tensor | None = None,
    axes: Tensor | None = None,
) -> Tensor:
    given = numbers(pads) or list(node.get("pads", []))
    fill = numbers(value)[0] if value is not None else node.get("value", 0)
    chosen = [axis % x.ndim for axis in numbers(axes)] or list(range(x.ndim))
    mode = node.get("mode", "constant")
    half = len(given) // 2
    for axis, before, after in zip(chosen, given[:half], given[half:], strict=True):
        if mode == "constant" or before < 0 or after < 0:
            pairs = [0, 0] * (x.ndim - 1 - axis) + [int(before), int(after)]
            x = F.pad(x, pairs, value=fill)
        else:
            places = _places(mode, x.shape[axis], int(before), int(after))
            x = x.index_select(axis, torch.tensor(places, device=x.device))
    return x


def _places(mode: str, size: int, before: int, after: int) -> list[int]:
    """What each element of a widened axis is read from."""
    every = range(-before, size + after)
    if mode == "edge":
        return [min(max(i, 0), size - 1) for i in every]
    if mode == "wrap":
        return [i % size for i in every]
    period = max(2 * (size - 1), 1)
    return [min(i % period, period - i % period) if size > 1 else 0 for i in every]


@operator("Expand", settings=(1,))
def _expand(_node: Node, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, numbers(shape)))


@operator("Tile", settings=(1,))
def _tile(_node: Node, x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(numbers(repeats))


def _from_start(index: Tensor, size: int) -> Tensor:
    """Indices that count from the end, from the start."""
    wide = index.long()
    return torch.where(wide < 0, wide + size, wide)


@operator("Gather")
def _gather(node: Node, x: Tensor, index: Tensor) -> Tensor:
    axis = node["axis"] % x.ndim
    places = _from_start(index, x.shape[axis])
    taken = x.index_select(axis, places.reshape(-1))
    return taken.reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


@operator("GatherElements")
def _gather_elements(node: Node, x: Tensor, index: Tensor) -> Tensor:
    return torch.gather(x, node["axis"], _from_start(index, x.shape[node["axis"]]))


@operator("GatherND")
def _gather_nd(node: Node, x: Tensor, index: Tensor) -> Tensor:
    shared = node.get("batch_dims", 0)
    width = index.shape[-1]
    rows = math.prod(x.shape[:shared])
    flat = x.reshape(rows, *x.shape[shared:])
    wanted = index.reshape(rows, -1, width)
    columns = [_from_start(wanted[..., k], x.shape[shared + k]) for k in range(width)]
    row = torch.arange(rows, device=x.device).reshape(-1, 1)
    places = (row, *columns)
    taken = flat[places]
    return taken.reshape((*index.shape[:-1], *x.shape[shared + width :]))


@operator("ScatterElements", "Scatter")
def _scatter_elements(node: Node, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    axis, how = node["axis"], node.get("reduction", "none")
    places = _from_start(index, x.shape[axis])
    if how == "none":
        return x.scatter(axis, places, updates)
    names = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
    return x.scatter_reduce(axis, places, updates, names[how], include_self=True)


@operator("ScatterND")
def _scatter_nd(node: Node, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    width, how = index.shape[-1], node.get("reduction", "none")
    inner = x.shape[width:]
    place = torch.zeros(index.shape[:-1], dtype=torch.int64, device=x.device)
    for k in range(width):
        place = place * x.shape[k] + _from_start(index[..., k], x.shape[k])
    flat = x.reshape(-1, math.prod(inner))
    rows = place.reshape(-1, 1).expand(-1, flat.shape[1])
    values = updates.reshape(rows.shape)
    if how == "none":
        return flat.scatter(0, rows, values).reshape(x.shape)
    names = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
    return flat.scatter_reduce(0, rows, values, names[how], include_self=True).reshape(x.shape)


@operator("Trilu", settings=(1,))
def _trilu(node: Node, x: Tensor, diagonal: Tensor | None = None) -> Tensor:
    k = numbers(diagonal)[0] if diagonal is not None else 0
    return torch.triu(x, k) if node["upper"] else torch.tril(x, k)


@operator("OneHot", settings=(1, 2))
def _one_hot(node: Node, index: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    size = int(numbers(depth)[0])
    places = _from_start(index, size)
    axis = node["axis"] % (index.ndim + 1)
    every = torch.arange(size, device=index.device).reshape(-1, *[1] * (index.ndim - axis))
    return torch.where(places.unsqueeze(axis) == every, values[1], values[0])


@operator("Shape")
def _shape(node: Node, x: Tensor) -> Tensor:
    end = node.get("end")
    return torch.tensor(list(x.shape)[node.get("start", 0) : end], dtype=torch.int64)


@operator("Size")
def _size(_node: Node, x: Tensor) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64)


@operator("EyeLike")
def _eye_like(node: Node, x: Tensor) -> Tensor:
    dtype = torch_dtype(node["dtype"]) if "dtype" in node.attributes else x.dtype
    rows, columns = x.shape
    place = torch.arange(columns) - torch.arange(rows).reshape(-1, 1)
    return (place == node["k"]).to(dtype)


@operator("ReverseSequence")
def _reverse_sequence(node: Node, x: Tensor, lengths: Tensor) -> Tensor:
    time, batch = node["time_axis"], node["batch_axis"]
    steps = torch.arange(x.shape[time], device=x.device)
    steps = steps.reshape([-1 if axis == time else 1 for axis in range(x.ndim)])
    ends = lengths.long().reshape([-1 if axis == batch else 1 for axis in range(x.ndim)])
    places = torch.where(steps < ends, ends - 1 - steps, steps)
    return torch.gather(x, time, places.expand(x.shape))
