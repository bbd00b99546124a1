"""The tile instructions of AMX, as TIR statements."""

from __future__ import annotations

from typing import Any

from tvmcomp.tvm_import import tvm

tirx = tvm.tirx

#: Tile registers: four accumulators, then two of the left side, then two of the right.
ACCUMULATORS, LEFT, RIGHT = 0, 4, 6


def configuration(tile_rows: int, columns: int, depth_rows: int) -> list[int]:
    """The 64 bytes that ``ldtilecfg`` reads, as sixteen 32-bit integers.

    Args:
        tile_rows: pixels in a tile.
        columns: output channels in a tile.
        depth_rows: 32-bit groups of inputs in a tile.
    """
    sums, left = (tile_rows, columns * 4), (tile_rows, depth_rows * 4)
    right = (depth_rows, columns * 4)
    shapes = [*[sums] * (LEFT - ACCUMULATORS), *[left] * (RIGHT - LEFT), right, right]
    memory = bytearray(64)
    memory[0] = 1  # the only palette
    for tile, (rows, row_bytes) in enumerate(shapes):
        memory[16 + 2 * tile : 18 + 2 * tile] = row_bytes.to_bytes(2, "little")
        memory[48 + tile] = rows
    return [int.from_bytes(memory[i : i + 4], "little", signed=True) for i in range(0, 64, 4)]


def configure(memory: Any) -> Any:
    """Load the configuration at ``memory``: this thread's tiles are usable, and zero."""
    return _instruction("ldtilecfg", memory)


def release() -> Any:
    """Give the tiles back: the kernel need not save them, the core may sleep."""
    return _instruction("tilerelease")


def zero(tile: int) -> Any:
    """Set a tile to zero."""
    return _instruction("tilezero", _number(tile))


def load(tile: int, memory: Any, stride: int) -> Any:
    """Load a tile's rows, ``stride`` bytes apart."""
    return _instruction("tileloadd64", _number(tile), memory, tirx.IntImm("int64", stride))


def store(tile: int, memory: Any, stride: int) -> Any:
    """Store a tile's rows, ``stride`` bytes apart."""
    return _instruction("tilestored64", _number(tile), memory, tirx.IntImm("int64", stride))


def prefetch(memory: Any) -> Any:
    """Bring a cache line near: into the second-level cache."""
    read, level, data = (tirx.IntImm("int32", value) for value in (0, 2, 1))
    return tirx.call_llvm_intrin("void", "llvm.prefetch.p0", memory, read, level, data)


def multiply(instruction: str, accumulator: int, left: int, right: int) -> Any:
    """``accumulator += left x right`` by ``tdpbusd``, ``tdpbf16ps`` …"""
    return _instruction(instruction, *map(_number, (accumulator, left, right)))


def _number(tile: int) -> Any:
    return tirx.IntImm("uint8", tile)


def _instruction(name: str, *args: Any) -> Any:
    return tirx.call_llvm_intrin("void", f"llvm.x86.{name}", *args)
