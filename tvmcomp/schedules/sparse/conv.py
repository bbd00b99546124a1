"""The kernel of a :class:`~tvmcomp.schedules.sparse.plan.SparsePlan`, as TIR.

Two blocks: ``conv``, the anchor, one instance a task, which adds up the blocks of one row over a
few pixels; and ``crop``, which picks the output's elements from the sums and is what the epilogue
fuses with. How often the loop over blocks runs is data, which TE can't express, so it is written
out; its sums have constant places and stay in registers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvmcomp.schedules.anchor import ANCHOR, READS_FLAT
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.schedules.dot_intrinsic import EMITTED
from tvmcomp.schedules.op_pattern import OpPattern
from tvmcomp.schedules.sparse.plan import PLAN, SPARSE_CONV, SparsePlan
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr, Tensor

tirx = tvm.tirx
T = tirx.script.builder


def sparse_conv(plan: SparsePlan) -> Any:
    """A PrimFunc ``(data, values, index, ends, output)``.

    ``data`` is ``[*lead, *S, C]``; the next three come from
    :func:`~tvmcomp.schedules.sparse.pattern.pack_blocks`; ``output`` is
    ``[*lead, *S', out_channels]`` of dtype ``plan.kernel.acc``, before any epilogue.
    """
    anchor, kernel = plan.anchor, plan.kernel
    count = max(plan.count, 1)
    out_shape = _sizes(*anchor.lead, *anchor.output, anchor.out_channels)
    sums_shape = _sizes(plan.chains, plan.pixels, plan.width)
    with tvm.script.ir_builder.IRBuilder() as ib, T.prim_func(is_private=True, s_tir=True):
        T.func_attr({"tirx.noalias": True, "op_pattern": int(OpPattern.OUT_FUSABLE)})
        data = T.arg("data", T.buffer(_sizes(*anchor.shape), kernel.data))
        block = _sizes(count, plan.vectors, kernel.lanes, kernel.depth)
        values = T.arg("values", T.buffer(block, kernel.weight))
        index = T.arg("index", T.buffer(_sizes(count), "int32"))
        ends = T.arg("ends", T.buffer(_sizes(plan.tasks[-1] + 1), "int32"))
        output = T.arg("output", T.buffer(out_shape, kernel.acc))
        sums = T.sblock_alloc_buffer((*_sizes(*plan.tasks), *sums_shape), kernel.acc)
        _conv_block(plan, (data, values, index, ends), sums)
        _crop_block(plan, sums, output, out_shape)
    return ib.get()


def _conv_block(plan: SparsePlan, operands: Sequence[Any], sums: Any) -> None:
    kernel, space = plan.kernel, _sizes(*plan.tasks)
    with T.grid(*space) as loops, T.sblock("conv"):
        at = [T.axis.spatial(n, loop) for n, loop in zip(space, loops, strict=True)]
        # compute_at wants each dimension of the result to be some block axis' business.
        one, zero = _sizes(1, 0)
        whole = []
        for size in (plan.chains, plan.pixels, plan.width):
            axis = T.axis.spatial(one, zero)
            whole.append(slice(axis * size, axis * size + size))
        T.reads(*(operand[tuple(slice(0, int(n)) for n in operand.shape)] for operand in operands))
        mine = (*at, *whole)
        T.writes(sums[mine])
        work = math.prod((*plan.outer, plan.run)) * plan.count * plan.vectors
        sizes = [plan.pixels, plan.vectors, kernel.lanes, plan.flat, work]
        T.sblock_attr({ANCHOR: SPARSE_CONV, PLAN: sizes})
        if plan.flat:
            T.sblock_attr({READS_FLAT: True})
        whole_blocks, rest = divmod(plan.run, plan.pixels)
        if not rest:
            _sum_up(plan, operands, sums, at, plan.pixels)
        elif not whole_blocks:
            _sum_up(plan, operands, sums, at, rest)
        else:
            with T.If(at[-2] < whole_blocks):
                with T.Then():
                    _sum_up(plan, operands, sums, at, plan.pixels)
                with T.Else():
                    _sum_up(plan, operands, sums, at, rest)


def _sum_up(
    plan: SparsePlan, operands: Sequence[Any], sums: Any, at: list[Any], pixels: int
) -> None:
    """What one task does; ``at`` is its ``(*outer, block of pixels, row)``."""
    data, values, index, ends = operands
    kernel, row = plan.kernel, at[-1]
    zero = tirx.const(0, "int64")
    first = _place(plan, at)
    # A vector of the weight: lanes, and their depth, follow each other.
    whole = tirx.Ramp(zero, 1, kernel.lanes * kernel.depth)

    def accumulator(chain: int, pixel: int, vector: int) -> list[Any]:
        lanes = tirx.Ramp(tirx.const(vector * kernel.lanes, "int64"), 1, kernel.lanes)
        return [*at, chain, pixel, lanes]

    def each_vector() -> list[tuple[int, int]]:
        return [(pixel, vector) for pixel in range(pixels) for vector in range(plan.vectors)]

    for chain in range(plan.chains):
        for pixel, vector in each_vector():
            none = tirx.Broadcast(tirx.const(0, kernel.acc), kernel.lanes)
            T.buffer_store(sums, none, accumulator(chain, pixel, vector))
    begin, end = ends[row].astype("int64"), ends[row + 1].astype("int64")
    with T.serial(zero, tirx.floordiv(end - begin, tirx.const(plan.chains, "int64"))) as step:
        for chain in range(plan.chains):
            block = begin + step * plan.chains + chain
            channel = index[block].astype("int64")
            for pixel, vector in each_vector():
                place = accumulator(chain, pixel, vector)
                taken = _taken(plan, data, first, pixel, channel)
                weight = values[block, vector, zero, whole]
                T.buffer_store(sums, multiplied(kernel, taken, weight, sums[tuple(place)]), place)
    for chain in range(1, plan.chains):
        for pixel, vector in each_vector():
            place = accumulator(0, pixel, vector)
            total = sums[tuple(place)] + sums[tuple(accumulator(chain, pixel, vector))]
            T.buffer_store(sums, total, place)


def multiplied(kernel: DotKernel, data: Any, weight: Any, sums: Any) -> Any:
    """``sums`` and the products of ``data [depth]`` with a vector of the weight."""
    if kernel.intrin is not None:
        return EMITTED[kernel.intrin](data, weight, sums)
    wide = f"{kernel.acc}x{kernel.lanes}"
    return sums + tirx.Broadcast(data.astype(kernel.acc), kernel.lanes) * weight.astype(wide)


def _place(plan: SparsePlan, at: Sequence[Any]) -> list[Any]:
    """Indices in the data of a task's first pixel, without the channel."""
    anchor = plan.anchor
    *outer, block, _ = at
    pixel = block * plan.pixels
    if plan.flat:
        return [tirx.const(0, "int64")] * (len(anchor.shape) - 1) + [pixel]
    moves = (*(1,) * len(anchor.lead), *anchor.window.strides)
    return [index * move for index, move in zip((*outer, pixel), moves, strict=True)]


def _taken(plan: SparsePlan, data: Tensor, first: Sequence[Any], pixel: int, channel: Any) -> Any:
    """``depth`` channels of a task's ``pixel``, from ``channel`` on."""
    anchor, depth = plan.anchor, plan.kernel.depth
    if plan.flat:
        # Past the end of its row: the pixels lie one behind the other.
        *place, block = first
        channel = (block + pixel) * anchor.channels + channel
    else:
        *place, column = first
        place = [*place, column + pixel * anchor.window.strides[-1]]
    index = (*place, tirx.Ramp(channel, 1, depth) if depth > 1 else channel)
    return data[index]


def _crop_block(plan: SparsePlan, sums: PrimExpr, output: Any, shape: Sequence[int]) -> None:
    zero = tirx.const(0, "int64")
    with T.grid(*shape) as loops, T.sblock("crop"):
        at = [T.axis.spatial(n, loop) for n, loop in zip(shape, loops, strict=True)]
        *pixel, channel = at
        outer, column = pixel[: len(plan.outer)], pixel[-1]
        if plan.flat:
            column = zero
            for index, size in zip(pixel, shape, strict=False):  # all but the channels
                column = column * size + index
        tasks = (*outer, column // plan.pixels, channel // plan.width)
        place = (*tasks, zero, column % plan.pixels, channel % plan.width)
        T.buffer_store(output, sums[place], at)


def _sizes(*values: int) -> tuple[Any, ...]:
    """Extents as Relax has them: its kernels only join where the types of their buffers agree."""
    return tuple(tirx.IntImm("int64", value) for value in values)
