"""What a fused kernel computes, read off its TIR before scheduling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tvmcomp.schedules import find_anchor
from tvmcomp.schedules.anchor import ANCHOR, MACS
from tvmcomp.tvm_import import tvm

_REDUCE = 2  # tirx.IterVar.CommReduce
#: Schedules that are analysed, and what their kernels are called.
_KINDS = {
    "direct_conv": "{}",
    "pixel_pairs": "{}",
    "depthwise_conv": "depthwise {}",
    "depthwise_dot": "depthwise {}",
    "winograd": "3x3 (Winograd)",
}


@dataclass(frozen=True)
class Geometry:
    """A convolution or matrix product.

    Attributes:
        kind: ``3x3``, ``1x1``, ``matmul``, ``depthwise 3x3`` …
        shape: input and output channels and output size, for a person.
        integer: whether it multiplies integers.
        macs: multiply-accumulates that the network asks for.
        computed: multiply-accumulates that the kernel does, padding counted.
    """

    kind: str
    shape: str
    integer: bool
    macs: int
    computed: int


def geometry(func: Any) -> Geometry | None:
    """The geometry of the PrimFunc ``func``; None where it has no anchor."""
    sch = tvm.s_tir.Schedule(func)
    anchor = find_anchor(sch)
    if anchor is None:
        return None
    block = sch.get(anchor)
    kind = str(block.annotations[ANCHOR])
    if kind not in _KINDS:
        return None
    extents = [int(iv.dom.extent) for iv in block.iter_vars]
    reduced = [int(iv.dom.extent) for iv in block.iter_vars if iv.iter_type == _REDUCE]
    computed = math.prod(extents)
    data, output = (_shape(access.source) for access in (block.reads[-2], block.writes[0]))
    depthwise = {"depthwise_conv": reduced, "depthwise_dot": reduced[::-1]}
    taps = depthwise.get(kind, reduced[:-2])
    name = "matmul" if taps == [1] else "x".join(map(str, taps))
    for other in sch.get_child_blocks(sch.get_sblock("root")):
        node = sch.get(other)
        if str(node.name_hint).startswith(("crop", "merge", "inverse")):
            output = _shape(node.writes[0].source)
    size = "x".join(map(str, output[1:-1]))
    return Geometry(
        kind=_KINDS[kind].format(name),
        shape=f"{data[-1]} to {output[-1]} at {size}",
        integer=str(block.writes[0].source.dtype) == "int32",
        macs=int(block.annotations.get(MACS, computed)),
        computed=computed,
    )


def _shape(buffer: Any) -> list[int]:
    return [int(dim) for dim in buffer.shape]
