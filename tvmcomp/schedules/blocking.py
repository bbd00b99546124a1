"""The analytic choice of block sizes: from the target's registers, with no measurement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tvmcomp.schedules.dot import DotKernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import Schedule


class Decide(Protocol):
    """Answers each choice of a schedule: analytically for a build, point by point for the tuner.

    What a schedule asks must not depend on the answers: the tuner lists the points beforehand.
    """

    def __call__(self, sch: Schedule, name: str, candidates: Sequence[int], best_guess: int) -> int:
        """Choose one of ``candidates`` for ``name``; ``best_guess`` is the analytic answer."""
        ...


#: A block of p x v has the number 100 p + v.
_BLOCK_NUMBER = 100


def analytic(sch: Schedule, name: str, candidates: Sequence[int], best_guess: int) -> int:
    """The :class:`Decide` of a build without tuning."""
    return best_guess


def choose_block(
    sch: Schedule, name: str, blocks: Sequence[tuple[int, int]], decide: Decide
) -> tuple[int, int]:
    """Let ``decide`` choose one of ``blocks``, of which the first is the analytic answer.

    It is told a number that means the same block in every kernel: the tuner learns from all.
    """
    numbers = [_BLOCK_NUMBER * p + v for p, v in blocks]
    return blocks[numbers.index(decide(sch, name, numbers, numbers[0]))]


#: LLVM unrolls a reduction of so few steps.
_UNROLLED_STEPS = 16


def stages_data(target: TargetDescription) -> bool:
    """Whether ``target`` multiplies by an element of a vector: 64-bit ARM."""
    return target.family == "arm" and target.triple.startswith("aarch64")


def register_blocks(
    width: int,
    vectors: int,
    target: TargetDescription,
    kernel: DotKernel | None = None,
    steps: int | None = None,
) -> list[tuple[int, int]]:
    """Accumulator blocks ``(pixels, vectors of channels)`` that fit the registers, best first.

    A block of ``p x v`` accumulators loads ``v`` weight vectors and ``p`` broadcasts for ``p * v``
    multiply-accumulates, and keeps ``v + 1`` registers for operands, or ``p + v`` where the data of
    a block is staged in registers (ARM). Ranked by the arithmetic per load, by how much of the last
    block a row of ``width`` pixels fills, and by having enough independent chains to hide the
    latency of a multiply-add.

    Args:
        width: output pixels in a row.
        vectors: vectors of output channels; ``v`` divides it.
        target: the device.
        kernel: the dot product, where it holds several pixels in an accumulator (the blocks' pixels
            are a multiple of that), or needs registers of its own.
        steps: multiply-accumulates that each accumulator takes. LLVM unrolls few of them, and keeps
            the epilogue's bias and scale in registers from one block to the next.
    """
    staged = stages_data(target)
    pixels = kernel.pixels if kernel else 1
    budget = target.vector_registers - (kernel.temporaries if kernel else 0)
    blocks = []
    for v in (v for v in range(1, 9) if vectors % v == 0):
        for p in range(1, -(-width // pixels) + 1):
            operands = p + v if staged else v + 1
            if steps is not None and steps <= _UNROLLED_STEPS and pixels == 1:
                operands += 2 * v
            if p * v + operands > budget:
                break
            fill = width / (-(-width // (p * pixels)) * p * pixels)
            reuse = p * v / (p + v)
            if pixels > 1:  # An instruction puts the data of a register's pixels side by side.
                fill *= v / (v + 1)
            latency = min(1.0, p * v / 8)
            blocks.append((fill * latency * reuse / (reuse + 1), p * pixels, v))
    blocks.sort(reverse=True)
    return [(p, v) for _, p, v in blocks]
