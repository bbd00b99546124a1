"""How fast the cores of a device multiply and read, as far as its description tells.

It tells the width of vectors and not the clock. An ordinary clock is taken for a start, and who
measures a kernel that is faster raises it.
"""

from __future__ import annotations

from tvmcomp.targets.description import TargetDescription

#: Cycles a second: what cores of the family run at, about.
_CLOCK = {"x86": 3.5e9, "arm": 2.0e9, "riscv": 1.5e9, "cuda": 1.5e9}
#: 8-bit multiply-accumulates for one of float32 in the same vector, by dot product.
_BYTE_SPEEDUP = {"amx_int8": 16, "avx512_vnni": 4, "avx_vnni": 4, "i8mm": 8, "sdot": 4}
#: Bytes a cycle and core from the caches that a network's tensors live in.
_BYTES_A_CYCLE = 16


class Peaks:
    """What ``cores`` cores of a target do in a second.

    Attributes:
        clock: cycles a second.
    """

    def __init__(self, target: TargetDescription, cores: int | None = None) -> None:
        self._target = target
        self._cores = cores or target.cores
        self.clock = _CLOCK[target.family]

    def multiply_adds(self, dtype: str) -> float:
        """Multiply-accumulates of data of ``dtype``; uint16 holds the bits of bfloat16."""
        lanes = self._target.vector_bits / 32
        if dtype in ("int8", "uint8"):
            lanes *= _BYTE_SPEEDUP.get(self._target.dot_product, 1)
        elif dtype in ("bfloat16", "uint16") and self._target.bfloat16:
            lanes *= 2
        return lanes * self.clock * self._cores

    def bytes(self) -> float:
        """Bytes read and written."""
        return _BYTES_A_CYCLE * self.clock * self._cores
