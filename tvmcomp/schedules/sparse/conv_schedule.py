"""Schedule a kernel of :mod:`~tvmcomp.schedules.sparse.conv`: tasks, each with its epilogue."""

from __future__ import annotations

import math
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.blocking import Decide
from tvmcomp.schedules.epilogue import accumulate_in_registers
from tvmcomp.schedules.parallel import parallelize
from tvmcomp.schedules.sparse.plan import PLAN
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Block, Schedule


def schedule_sparse_conv(
    sch: Schedule, block: Block, target: TargetDescription, decide: Decide
) -> None:
    """Schedule the PrimFunc in ``sch`` whose anchor is the ``conv`` block of a sparse kernel.

    Args:
        sch: a schedule of a fused PrimFunc.
        block: the anchor.
        target: the device.
        decide: answers the choices.
    """
    pixels, vectors, lanes, flat, work = (int(value) for value in sch.get(block).annotations[PLAN])
    epilogue = accumulate_in_registers(sch, block, target)
    if flat:
        _in_one_run(sch, epilogue)
    *outer, run, channel = sch.get_loops(epilogue)
    out_channels = int(sch.get(channel).extent)
    run_block, pixel = sch.split(run, [None, pixels])
    # Vectors that end with the channels: no condition within them.
    whole = math.gcd(out_channels, lanes)
    row, vector, lane = sch.split(channel, [None, vectors * lanes // whole, whole])
    # A few pixels' data stay in a cache, and all the weights pass by.
    tasks = [*outer, run_block, row]
    sch.reorder(*tasks, pixel, vector, lane)
    sch.compute_at(block, tasks[-1])
    parallelize(sch, tasks, work, decide)
    sch.unroll(pixel)
    sch.unroll(vector)
    if whole > 1:
        sch.vectorize(lane)


def _in_one_run(sch: Schedule, block: Block) -> None:
    """Make the pixels of ``block`` one axis: where each has its sums then is plain to see."""
    sizes = [int(axis.dom.extent) for axis in sch.get(block).iter_vars]

    def joined(*at: Any) -> list[Any]:
        *pixel, channel = at
        run = pixel[0]
        for index, size in zip(pixel[1:], sizes[1:], strict=False):
            run = run * size + index
        return [run, channel]

    index_map = tvm.tirx.IndexMap.from_func(joined, ndim=len(sizes))
    sch.transform_block_layout(block, index_map)
    _simplify_indices(sch, block)


def _simplify_indices(sch: Schedule, block: Block) -> None:
    """Put together what the axes of ``block`` were taken apart into, in the indices of its loads:
    the sums would not stay in registers.
    """
    old = sch.get(block)
    analyzer = tvm.sym.Analyzer()
    for axis in old.iter_vars:
        analyzer.bind(axis.var, axis.dom)

    def load(node: Any) -> Any:
        return tvm.tirx.BufferLoad(node.source, [analyzer.simplify(i) for i in node.indices])

    def region(node: Any) -> Any:
        ranges = [
            tvm.ir.Range.from_min_extent(analyzer.simplify(part.min), part.extent)
            for part in node.region
        ]
        return tvm.tirx.BufferRegion(node.source, ranges)

    body = tvm_ffi.structural_map(old.body, ((tvm.ir.expr.TensorLoad, load),))
    new = tvm.s_tir.SBlock(
        old.iter_vars, [region(read) for read in old.reads], old.writes, old.name_hint, body,
        old.init, old.alloc_buffers, old.match_buffers, old.annotations,
    )  # fmt: skip
    sch.state.replace(sch.get_sref(block), new, {old: new})
