"""Give every buffer of a plan its place in the workspace; those that live at once do not meet.

Largest first, each at the lowest place that is free for as long as it lives (Pisarchyk and Lee,
"Efficient Memory Management for Deep Neural Net Inference", 2020, "greedy by size"); where that
takes more than what lives at once, other orders are tried as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tvmcomp.codegen.native.plan import Call, Loop, Place, Plan, Step, Tensor

#: Bytes: what kernels take their tensors to be aligned to.
ALIGNMENT = 64


@dataclass(frozen=True)
class Workspace:
    """Where everything lies.

    Attributes:
        offsets: of buffers, and of what loops carry, in bytes from an aligned beginning. The second
            place of what is carried is that of kind ``next``; that of an input is for a caller's
            own that is not aligned as kernels need it.
        size: bytes in all.
    """

    offsets: Mapping[Place, int]
    size: int


@dataclass
class _Block:
    size: int
    first: int
    last: int


def place(plan: Plan, copied_inputs: Iterable[int] = ()) -> Workspace:
    """A workspace for ``plan``.

    Args:
        plan: the plan.
        copied_inputs: the inputs that need a place, where a caller's are not aligned.
    """
    blocks = _lifetimes(plan, copied_inputs)
    order = list(blocks)
    sizes: list[Callable[[Place], tuple[int, ...]]] = [
        lambda each: (-blocks[each].size, blocks[each].first),
        lambda each: (blocks[each].first, -blocks[each].size),
        lambda each: (-blocks[each].size * (blocks[each].last - blocks[each].first + 1),),
        lambda each: (-blocks[each].last + blocks[each].first, -blocks[each].size),
    ]
    least = _most_at_once(blocks.values())
    best: Workspace | None = None
    for key in sizes:
        found = _placed({each: blocks[each] for each in sorted(order, key=key)})
        if best is None or found.size < best.size:
            best = found
        if best.size == least:
            break
    assert best is not None
    return best


def _placed(blocks: Mapping[Place, _Block]) -> Workspace:
    offsets: dict[Place, int] = {}
    living: dict[int, list[Place]] = {}  # at each moment, of those that have an offset
    size = 0
    for each, block in blocks.items():
        moments = range(block.first, block.last + 1)
        others = {other for moment in moments for other in living.get(moment, ())}
        at = 0
        for begin, length in sorted((offsets[other], blocks[other].size) for other in others):
            if at + block.size <= begin:
                break
            at = max(at, begin + length)
        offsets[each] = at
        for moment in moments:
            living.setdefault(moment, []).append(each)
        size = max(size, at + block.size)
    return Workspace(offsets, size)


def _most_at_once(blocks: Iterable[_Block]) -> int:
    changes: dict[int, int] = {}
    for block in blocks:
        changes[block.first] = changes.get(block.first, 0) + block.size
        changes[block.last + 1] = changes.get(block.last + 1, 0) - block.size
    now = most = 0
    for moment in sorted(changes):
        now += changes[moment]
        most = max(most, now)
    return most


def _lifetimes(plan: Plan, copied_inputs: Iterable[int]) -> dict[Place, _Block]:
    lives = _Lives(plan, {Place("input", index) for index in copied_inputs})
    lives.touch(plan.inputs)  # copied before the first step
    lives.steps(plan.steps)
    lives.now += 1
    lives.touch(plan.outputs)
    for output in plan.outputs:  # where a caller's is not aligned, it is copied after the last
        lives.touch([output])
    return lives.blocks


class _Lives:
    def __init__(self, plan: Plan, copied: set[Place]) -> None:
        self.plan, self.copied = plan, copied
        self.now = 0
        self.blocks: dict[Place, _Block] = {}

    def touch(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            for each, size in self._memory(tensor.place):
                if each in self.blocks:
                    self.blocks[each].last = self.now
                else:
                    self.blocks[each] = _Block(_rounded(size), self.now, self.now)

    def _memory(self, of: Place) -> list[tuple[Place, int]]:
        if of.kind == "buffer":
            return [(of, self.plan.buffers[of.index])]
        if of.kind in ("carried", "next"):  # they change roles, so they live as long
            size, twice = self.plan.carried[of.index]
            kinds = ("carried", "next") if twice else ("carried",)
            return [(Place(kind, of.index), size) for kind in kinds]  # type: ignore[arg-type]
        if of in self.copied:
            return [(of, self.plan.inputs[of.index].nbytes)]
        return []

    def steps(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self.now += 1
            if isinstance(step, Call):
                self.touch([*step.inputs, *step.outputs])
            else:
                self._loop(step)

    def _loop(self, loop: Loop) -> None:
        begin = self.now
        rows = [all_of_it for _, all_of_it in loop.rows]
        self.touch([loop.trips, loop.going, *loop.starts, *loop.carried, *rows])
        self.steps(loop.body)
        self.now += 1
        self.touch([*loop.states, *(row for row, _ in loop.rows), *loop.spare.values()])
        self.touch([*loop.carried, *rows, loop.trips])
        if loop.condition is not None:
            self.touch([loop.condition])
        for block in self.blocks.values():  # what a trip reads, and did not write, the next reads
            if block.first < begin <= block.last:
                block.last = self.now


def _rounded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
