"""What a multiprocessor of each compute capability holds, and how many blocks fit: occupancy.

The figures are those of NVIDIA's CUDA programming guide, "Technical Specifications per Compute
Capability", and of its tuning guides.
"""

from __future__ import annotations

from typing import NamedTuple

_KIB = 1024
WARP = 32
#: Registers are given to a warp in units of so many; a multiprocessor has four parts of its own.
_REGISTER_UNIT, _PARTS = 256, 4


class GpuLimits(NamedTuple):
    """Of one compute capability.

    Attributes:
        threads_per_multiprocessor, blocks_per_multiprocessor: resident at once.
        shared_per_multiprocessor: bytes of shared memory.
        shared_per_block: bytes that a block may ask for, where it opts in for more than 48 KiB.
        shared_reserved: bytes that each block takes beside its own.
        shared_unit: shared memory is given in units of so many bytes.
        registers_per_multiprocessor: of 32 bits.
    """

    threads_per_multiprocessor: int
    blocks_per_multiprocessor: int
    shared_per_multiprocessor: int
    shared_per_block: int
    shared_reserved: int = _KIB
    shared_unit: int = 128
    registers_per_multiprocessor: int = 65536


_LIMITS = {
    75: GpuLimits(1024, 16, 64 * _KIB, 64 * _KIB, shared_reserved=0, shared_unit=256),
    80: GpuLimits(2048, 32, 164 * _KIB, 163 * _KIB),
    86: GpuLimits(1536, 16, 100 * _KIB, 99 * _KIB),
    87: GpuLimits(1536, 16, 164 * _KIB, 163 * _KIB),
    89: GpuLimits(1536, 24, 100 * _KIB, 99 * _KIB),
    90: GpuLimits(2048, 32, 228 * _KIB, 227 * _KIB),
    100: GpuLimits(2048, 32, 228 * _KIB, 227 * _KIB),
    120: GpuLimits(1536, 24, 100 * _KIB, 99 * _KIB),
}


def limits(capability: int) -> GpuLimits:
    """Those of ``capability`` (90 is 9.0), or of the next older one that is known."""
    known = [each for each in _LIMITS if each <= capability]
    return _LIMITS[max(known, default=min(_LIMITS))]


def resident_blocks(capability: int, threads: int, registers: int, shared: int) -> int:
    """Blocks of a kernel that a multiprocessor holds at once; 0 where none fits.

    Args:
        capability: of the GPU.
        threads: of a block.
        registers: of a thread.
        shared: bytes of shared memory of a block.
    """
    has = limits(capability)
    if shared > has.shared_per_block:
        return 0
    warps = -(-threads // WARP)
    of_a_warp = max(1, _round_up(registers * WARP, _REGISTER_UNIT))
    warps_by_registers = _PARTS * (has.registers_per_multiprocessor // _PARTS // of_a_warp)
    of_a_block = max(1, _round_up(shared + has.shared_reserved, has.shared_unit))
    return min(
        has.blocks_per_multiprocessor,
        has.threads_per_multiprocessor // (warps * WARP),
        warps_by_registers // warps,
        has.shared_per_multiprocessor // of_a_block,
    )


def occupancy(capability: int, threads: int, registers: int, shared: int) -> float:
    """Resident warps as a share of those that a multiprocessor can hold; see
    :func:`resident_blocks`.
    """
    warps = -(-threads // WARP)
    blocks = resident_blocks(capability, threads, registers, shared)
    return blocks * warps / (limits(capability).threads_per_multiprocessor // WARP)


def _round_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
