"""Load the data of a register block as vectors over the input channels, once for all its channels.

NEON multiplies a vector by one element of another (``fmla v0.4s, v1.4s, v2.s[3]``), so 16 bytes of
a pixel's input channels feed four steps of the reduction: a quarter of the loads that one
broadcast a step would take, and no instruction spent on the broadcast itself.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.schedules.dot import DotKernel
from tvmcomp.schedules.stages import mentions
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Block, Loop, PrimExpr, Schedule

_VECTOR_BYTES = 16


def steps_of_vector(kernel: DotKernel, steps: int) -> int:
    """How many of ``steps`` steps of the reduction one vector of data feeds; divides ``steps``."""
    most = _VECTOR_BYTES // (kernel.depth * tvm.DataType(kernel.data).bits // 8)
    while steps % most:
        most //= 2
    return max(most, 1)


def stage_data(sch: Schedule, block: Block, kernel: DotKernel, steps: int, loop: Loop) -> None:
    """Read the data of anchor ``block`` once an iteration of ``loop``, into local vectors.

    Args:
        sch: the schedule.
        block: a convolution; its last two axes are the reduction's, outer and inner, and the last
            of the spatial ones the output's channels.
        kernel: its dot product.
        steps: of the reduction that one vector feeds, of :func:`steps_of_vector`.
        loop: the loop of ``block`` around them.
    """
    if steps * kernel.depth == 1:
        return  # A vector of one element is the broadcast.
    axes = sch.get(block).iter_vars
    spatial = sum(axis.iter_type == tvm.tirx.IterVar.DataPar for axis in axes)
    width = spatial - 2

    data = len(sch.get(block).reads) - 2
    before = axes_read(sch, block, data, width)

    def local_index(*at: PrimExpr) -> list[Any]:
        """Without the output's channels; a pixel's input channels lie next to each other."""
        return [*(at[i] for i in before), *at[spatial:-2], at[width], *at[-2:]]

    index_map = tvm.tirx.IndexMap.from_func(local_index, ndim=len(axes))
    stage = sch.reindex_cache_read(block, data, "local", index_map)
    sch.compute_at(stage, loop)
    names = [str(sch.get(other).loop_var.name) for other in sch.get_loops(block)]
    outer = names.index(str(sch.get(loop).loop_var.name)) + 1
    *pixels, vector = sch.get_loops(stage)[outer:]
    # Loops that run once are not there: with one step a vector, only the inner one is.
    if int(sch.get(vector).extent) < steps * kernel.depth:
        vector = sch.fuse(pixels.pop(), vector)
    for pixel in pixels:
        sch.unroll(pixel)
    sch.vectorize(vector)


def axes_read(sch: Schedule, block: Block, data: int, count: int) -> list[int]:
    """Those of the first ``count`` axes of ``block`` along which it reads its operand ``data``: a
    matrix that a whole batch multiplies is not read along that."""
    node = sch.get(block)
    region = node.reads[data].region
    return [
        i
        for i, axis in enumerate(node.iter_vars[:count])
        if any(mentions(part.min, axis.var) for part in region)
    ]
