"""Fusing what follows an anchor into one block, and vectorizing a block over its channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvmcomp.schedules.parallel import instructions, parallelize
from tvmcomp.schedules.stages import advances, loads, mentions
from tvmcomp.schedules.tir.masked_vectors import has_masks
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Block, Schedule


def accumulate_in_registers(sch: Schedule, anchor: Block, target: TargetDescription) -> Any:
    """Put the accumulators of ``anchor`` in registers, and make what follows it one block.

    What follows in the anchor's own shape becomes the epilogue. Blocks of another shape (a
    squeeze-and-excite gate multiplied into a whole image) become a loop nest of their own.

    Returns:
        The block that reads the accumulators, still at the root: the last of the epilogue, into
        which the others are inlined, or a plain copy where there is no epilogue.
    """
    epilogue = inline_epilogue(sch, anchor, (anchor, *sch.get_producers(anchor)), target)
    if epilogue is None:
        return sch.cache_write(anchor, 0, "local")
    sch.set_scope(anchor, 0, "local")
    return epilogue


def inline_epilogue(
    sch: Schedule, result: Any, own: Sequence[Any], target: TargetDescription
) -> Any | None:
    """Make what follows ``result`` in its own shape one block.

    Args:
        sch: the schedule.
        result: the block that gives an anchor's result.
        own: the anchor's blocks, ``result`` among them; whatever else prepares the epilogue's
            operands is inlined.
        target: the device.

    Returns:
        That block, still at the root, or None where nothing follows.
    """
    after = _after(sch, result)
    used = {_name(sch, block) for block in (*own, *after)}
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        if _name(sch, block) not in used:
            sch.compute_inline(block)
    if not after:
        return None
    shape = _output_shape(sch, after[0])
    split = next((i for i, b in enumerate(after) if _output_shape(sch, b) != shape), len(after))
    epilogue, tail = after[:split], after[split:]
    for block in (*epilogue[:-1], *tail[:-1]):
        sch.compute_inline(block)
    if tail:
        schedule_spatial(sch, tail[-1], target)
    return epilogue[-1]


def _after(sch: Schedule, anchor: Block) -> list[Any]:
    """Blocks that depend on ``anchor``, in program order; none of them reduces."""
    reached = {_name(sch, anchor)}
    after = []
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        producers = {_name(sch, producer) for producer in sch.get_producers(block)}
        if producers & reached:
            reached.add(_name(sch, block))
            after.append(block)
    return after


def _name(sch: Schedule, block: Block) -> str:
    return str(sch.get(block).name_hint)


def _output_shape(sch: Schedule, block: Block) -> tuple[int, ...]:
    return tuple(int(dim) for dim in sch.get(block).writes[0].source.shape)


def schedule_spatial(sch: Schedule, block: Block, target: TargetDescription) -> None:
    """Schedule a block without reduction: vectorized along the last axis, parallel over the others
    where that is worth it.
    """
    loops = sch.get_loops(block)
    if not loops:
        return  # A single number.
    node = sch.get(block)
    vectors = math.prod(int(iv.dom.extent) for iv in node.iter_vars) * 32 / target.vector_bits
    parallelize(sch, loops[:-1], vectors * instructions(node.body))
    vectorize_channels(sch, block, target)


def vectorize_channels(sch: Schedule, block: Block, target: TargetDescription) -> None:
    """Split the innermost loop of ``block`` into vectors and vectorize.

    What remains behind the last whole one is a vector under a mask, or scalar code where the target
    has no masks (:mod:`tvmcomp.schedules.tir.whole_vectors`).
    """
    loop = sch.get_loops(block)[-1]
    lanes = channel_lanes(sch, block, int(sch.get(loop).extent), target)
    if lanes > 1:
        _, inner = sch.split(loop, [None, lanes])
        sch.vectorize(inner)


def channel_lanes(
    sch: Schedule, block: Block, extent: int, target: TargetDescription, sums: Any = None
) -> int:
    """The lanes of vectors along the last axis of ``block``, for ``extent`` of its values.

    Args:
        sch: the schedule.
        block: without reduction.
        extent: how many values a loop goes through.
        target: the device.
        sums: a buffer whose elements for these values lie side by side, whatever its indices say.
    """
    if _along_channels(sch.get(block), sums):
        return best_lanes(extent, target)
    return math.gcd(extent, target.vector_bits // 32)


def best_lanes(extent: int, target: TargetDescription) -> int:
    """The lanes of which a loop of ``extent`` takes the fewest instructions, and of these the
    fewest lanes: no mask where none is needed."""
    masks = has_masks(target)
    best, fewest = 1, extent
    for lanes in powers_of_two(target.vector_bits // 32):
        count = -(-extent // lanes) if masks else extent // lanes + extent % lanes
        if count < fewest:
            best, fewest = lanes, count
    return best


def powers_of_two(most: int) -> list[int]:
    """2, 4, 8, … up to ``most``."""
    return [2**k for k in range(1, most.bit_length())]


def _along_channels(block: Any, sums: Any) -> bool:
    """Whether all that ``block`` reads and writes, but ``sums``, lies side by side along its last
    axis, or is the same for all of it: vectors of any length load it."""
    body = block.body
    if not isinstance(body, tvm.tirx.BufferStore):
        return False
    last = block.iter_vars[-1].var
    others = (load for load in loads(body.value) if sums is None or not load.source.same_as(sums))
    accesses = [body.indices, *(load.indices for load in others)]
    return all(
        not any(mentions(index, last) for index in indices)
        or (advances(indices[-1], last) and not any(mentions(i, last) for i in indices[:-1]))
        for indices in accesses
    )
