"""Accumulators of groups, indexed as the result is."""

from __future__ import annotations

from typing import Any

from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Block, Schedule

_REDUCE = tvm.tirx.IterVar.CommReduce


def merge_groups(sch: Schedule, block: Block, epilogue: Block) -> None:
    """Make ``[*lead, G, *S, O / G]`` ``[*lead, *S, O]``, where ``epilogue`` reads them as that.

    A tile of it reads a quotient and a remainder of one index, in which TVM does not see that they
    are as few as the tile has where a group is several of them: the accumulators went through
    memory (10 times slower).

    Args:
        sch: the schedule.
        block: the anchor, its accumulators in a buffer of their own.
        epilogue: what reads them.
    """
    accumulators, result = (sch.get(each).writes[0].source.shape for each in (block, epilogue))
    if len(accumulators) != len(result) + 1:
        return  # there are no groups, or they are cropped first
    window = sum(iv.iter_type == _REDUCE for iv in sch.get(block).iter_vars) - 2
    lead = len(result) - 1 - window
    channels = int(accumulators[-1])

    def merged(*index: Any) -> list[Any]:
        return [*index[:lead], *index[lead + 1 : -1], index[lead] * channels + index[-1]]

    sch.transform_layout(block, ("write", 0), merged)
