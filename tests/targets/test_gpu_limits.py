"""Occupancy, against figures of NVIDIA's own calculator."""

from __future__ import annotations

import pytest

from tvmcomp.targets.gpu_limits import limits, occupancy, resident_blocks


@pytest.mark.parametrize(
    ("capability", "threads", "registers", "shared", "blocks", "share"),
    [
        (80, 256, 32, 0, 8, 1.0),
        (80, 256, 64, 0, 4, 0.5),
        (80, 256, 33, 0, 6, 0.75),  # 40 registers: they are given in units of 8 a thread
        (90, 128, 168, 0, 3, 0.1875),
        (80, 128, 32, 48 * 1024, 3, 0.1875),  # 1 KiB of each block is the system's
        (75, 128, 32, 32 * 1024, 2, 0.25),
        (86, 32, 16, 0, 16, 1 / 3),  # as many blocks as there may be
        (89, 1024, 32, 0, 1, 2 / 3),
        (86, 1024, 255, 0, 0, 0.0),
        (86, 128, 32, 100 * 1024, 0, 0.0),
    ],
)
def test_occupancy(
    capability: int, threads: int, registers: int, shared: int, blocks: int, share: float
) -> None:
    assert resident_blocks(capability, threads, registers, shared) == blocks
    assert occupancy(capability, threads, registers, shared) == pytest.approx(share)


def test_a_newer_gpu_has_what_the_one_before_has() -> None:
    assert limits(103) == limits(100)
    assert limits(61) == limits(75)
