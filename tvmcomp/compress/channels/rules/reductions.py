"""Sums, means, windows and normalizations: what a channel that is gone would change.

A sum over channels reads them: those that are zero add nothing. A mean, a maximum or a
normalization over them depends on all, so they stay.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.compress.channels.flow import NodeFlow
from tvmcomp.compress.channels.rules.table import rule

_SUMS = ("ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2")


@rule(*_SUMS, "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceLogSum",
      "ReduceLogSumExp", "ArgMax", "ArgMin")  # fmt: skip
def reduction(node: NodeFlow) -> None:
    """Axes go, or become 1."""
    axes = list(node.axes(0))
    gone = {i % len(axes) for i in _reduced(node, len(axes))}
    for i in gone:
        if node.node.op_type in _SUMS:
            node.reads(0, i, axes[i])
        else:
            node.pin(axes[i], "takes all of them together")
        axes[i] = None
    if not node.get("keepdims", 1):
        axes = [axis for i, axis in enumerate(axes) if i not in gone]
    node.gives(axes)


def _reduced(node: NodeFlow, rank: int) -> list[int]:
    if node.node.op_type.startswith("Arg"):
        return [node.get("axis", 0)]
    axes: Any = node.value(1) if node.has(1) else node.get("axes")
    if axes is None or len(axes) == 0:
        return [] if node.get("noop_with_empty_axes", 0) else list(range(rank))
    return [int(axis) for axis in axes]


@rule("Softmax", "LogSoftmax", "Hardmax")
def softmax(node: NodeFlow) -> None:
    """Over one axis; before operator set 13 over all from it on."""
    axes = list(node.axes(0))
    start = node.get("axis", -1 if node.opset >= 13 else 1) % len(axes)
    for i in [start] if node.opset >= 13 else range(start, len(axes)):
        node.pin(axes[i], "compares them with one another")
        axes[i] = None
    node.gives(axes)


@rule("LayerNormalization", "RMSNormalization", "com.microsoft.SimplifiedLayerNormalization")
def layer_normalization(node: NodeFlow) -> None:
    """Over the axes from one on."""
    axes = list(node.axes(0))
    start = node.get("axis", -1) % len(axes)
    for i in range(start, len(axes)):
        node.pin(axes[i], "takes their mean square")
        axes[i] = None
    for place in range(1, len(node.inputs)):
        if node.has(place):
            for axis in node.axes(place):
                node.pin(axis, "normalizes by them")
    node.gives(axes, *([None] * len(axes) for _ in node.outputs[1:]))


@rule("BatchNormalization", "InstanceNormalization")
def by_channel(node: NodeFlow) -> None:
    """A channel by itself, with its own scale and shift (and mean and variance)."""
    axes = list(node.axes(0))
    for place in range(1, len(node.inputs)):
        axes[1] = node.unify(axes[1], node.axes(place)[0])
    node.gives(axes)


_POOLS = ("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")


@rule(*_POOLS)
def pool(node: NodeFlow) -> None:
    """A channel by itself; windows move along the other axes."""
    axes = node.axes(0)
    for axis in axes[2:]:
        node.pin(axis, "moves a window along them")
    given = [*axes[:2], *[None] * (len(axes) - 2)]
    if len(node.outputs) > 1 and node.outputs[1]:  # places of maxima count through all channels
        node.pin(axes[1], "numbers them")
        given[1] = None
    node.gives(*[given] * len(node.outputs))


@rule("Resize", "Upsample")
def resize(node: NodeFlow) -> None:
    """Batch and channels stay as they are; a size that is written out follows."""
    axes = list(node.axes(0))
    sizes = (node.shape(node.inputs[0]), node.shape(node.outputs[0]))
    for i in range(len(axes)):
        if i > 1 or sizes[0][i] != sizes[1][i]:
            node.pin(axes[i], "resizes them")
            axes[i] = None
    if len(node.inputs) > 3 and node.has(3):
        for i in node.get("axes", range(len(axes))):
            node.pin(axes[i], "is told how many there are")
            axes[i] = None
    node.gives(axes)
