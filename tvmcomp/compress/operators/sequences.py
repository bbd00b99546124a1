"""Sequences of tensors, which are lists here."""

from __future__ import annotations

import torch

from tvmcomp.compress.operators.table import Node, Sequence, Tensor, numbers, operator


@operator("SequenceConstruct")
def _construct(_node: Node, *inputs: Tensor) -> Sequence:
    return list(inputs)


@operator("SequenceEmpty")
def _empty(_node: Node) -> Sequence:
    return []


@operator("SequenceAt", settings=(1,))
def _at(_node: Node, sequence: Sequence, place: Tensor) -> Tensor:
    return sequence[int(numbers(place)[0])]


@operator("SequenceInsert", settings=(2,))
def _insert(
    _node: Node, sequence: Sequence, tensor: Tensor, place: Tensor | None = None
) -> Sequence:
    index = len(sequence) if place is None else int(numbers(place)[0])
    index = index + len(sequence) if index < 0 else index
    return [*sequence[:index], tensor, *sequence[index:]]


@operator("SequenceErase", settings=(1,))
def _erase(_node: Node, sequence: Sequence, place: Tensor | None = None) -> Sequence:
    index = -1 if place is None else int(numbers(place)[0])
    index = index + len(sequence) if index < 0 else index
    return [*sequence[:index], *sequence[index + 1 :]]


@operator("SequenceLength")
def _length(_node: Node, sequence: Sequence) -> Tensor:
    return torch.tensor(len(sequence), dtype=torch.int64)


@operator("ConcatFromSequence")
def _concat(node: Node, sequence: Sequence) -> Tensor:
    if node.get("new_axis", 0):
        return torch.stack(sequence, node["axis"])
    return torch.cat(sequence, node["axis"])


@operator("SplitToSequence", settings=(1,))
def _split(node: Node, x: Tensor, sizes: Tensor | None = None) -> Sequence:
    axis = node["axis"]
    if sizes is None:
        parts = list(torch.split(x, 1, axis))
        return parts if node["keepdims"] else [part.squeeze(axis) for part in parts]
    if sizes.ndim == 0:
        return list(torch.split(x, int(numbers(sizes)[0]), axis))
    return list(torch.split(x, numbers(sizes), axis))
