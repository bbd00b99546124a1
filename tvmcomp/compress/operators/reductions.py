"""Operators that reduce axes, or run along one."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tvmcomp.compress.operators.table import Node, Tensor, numbers, of_floats, operator


def _product(x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = torch.prod(x, axis, keepdim)
    return x


_REDUCTIONS: dict[str, Callable[[Tensor, list[int], bool], Tensor]] = {
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keep),
    "ReduceL2": lambda x, axes, keep: (x * x).sum(axes, keep).sqrt(),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: torch.logsumexp(x, axes, keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keep),
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keep),
    "ReduceProd": _product,
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keep, dtype=x.dtype),
    "ReduceSumSquare": lambda x, axes, keep: (x * x).sum(axes, keep, dtype=x.dtype),
}  # fmt: skip


@operator(*_REDUCTIONS, settings=(1,))
@of_floats
def _reduce(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = numbers(axes) or list(node.get("axes", []))
    if not chosen and node.get("noop_with_empty_axes", 0):
        return x
    reduce = _REDUCTIONS[node.operator]
    if not x.ndim:
        return reduce(x.reshape(1), [0], False)
    chosen = [axis % x.ndim for axis in chosen] or list(range(x.ndim))
    return reduce(x, chosen, bool(node["keepdims"]))


@operator("ArgMax", "ArgMin")
def _arg(node: Node, x: Tensor) -> Tensor:
    function = torch.argmax if node.operator == "ArgMax" else torch.argmin
    axis, size = node["axis"], x.shape[node["axis"]]
    if node.get("select_last_index", 0):
        return size - 1 - function(x.flip(axis), axis, keepdim=bool(node["keepdims"]))
    return function(x, axis, keepdim=bool(node["keepdims"]))


@operator("TopK", settings=(1,))
def _top_k(node: Node, x: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    values, places = torch.sort(
        x, dim=node["axis"], descending=bool(node.get("largest", 1)), stable=True
    )
    kept = torch.arange(int(numbers(count)[0]), device=x.device)
    return values.index_select(node["axis"], kept), places.index_select(node["axis"], kept)


@operator("CumSum", "CumProd", settings=(1,))
def _cumulative(node: Node, x: Tensor, axis: Tensor) -> Tensor:
    function = torch.cumsum if node.operator == "CumSum" else torch.cumprod
    along = int(numbers(axis)[0]) % x.ndim
    x = x.flip(along) if node["reverse"] else x
    if node["exclusive"]:
        start = torch.full_like(x.narrow(along, 0, 1), 0 if node.operator == "CumSum" else 1)
        x = torch.cat([start, x.narrow(along, 0, x.shape[along] - 1)], along)
    result = function(x, along).to(x.dtype)
    return result.flip(along) if node["reverse"] else result
