"""How fast the cores of a device multiply and read, as far as its description tells.

It tells the width of vectors and not the clock. An ordinary clock is taken for a start, and who
measures a kernel that is faster raises it.
"""

from __future__ import annotations

from tvmcomp.targets.description import TargetDescription

#: Cycles a second: what cores of the family run at, about.
_CLOCK = {"x86": 3.5e9, "arm": 2.0e9, "riscv": 1.5e9, "cuda": 1.5e9}
#: 8-bit multiply-accumulates for one of float32 in the same vector, by dot product.
_BYTE_SPEEDUP = {
    "amx_int8": 16,
    "avx512_vnni": 4,
    "avx_vnni": 4,
    "i8mm": 8,
    "sdot": 4,
    "pmaddwd": 2,
}
#: Bytes a cycle and core from the caches that a network's tensors live in.
_BYTES_A_CYCLE = 16

#: Of a GPU that does not tell: multiply-accumulates of a multiprocessor and cycle.
_GPU_FLOAT32, _GPU_HALF, _GPU_BYTE = 128, 1024, 2048


class Peaks:
    """What ``cores`` cores of a target do in a second.

    Attributes:
        clock: cycles a second.
    """

    def __init__(self, target: TargetDescription, cores: int | None = None) -> None:
        self._target = target
        self._is_gpu = target.family == "cuda"
        self._cores = target.gpu.multiprocessors if self._is_gpu else cores or target.cores
        self.clock = 1e6 * target.gpu.clock_mhz or _CLOCK[target.family]
        self._first_clock = self.clock

    def multiply_adds(self, dtype: str) -> float:
        """Multiply-accumulates of data of ``dtype``; uint16 holds the bits of bfloat16."""
        if self._is_gpu:
            return self._of_gpu(dtype)
        lanes = self._target.vector_bits / 32
        if dtype in ("int8", "uint8"):
            lanes *= _BYTE_SPEEDUP.get(self._target.dot_product, 1)
        elif dtype in ("bfloat16", "uint16") and self._target.bfloat16:
            lanes *= 2
        return lanes * self.clock * self._cores

    def bytes(self) -> float:
        """Bytes read and written."""
        if self._is_gpu and self._target.gpu.memory_gb_s:
            return 1e9 * self._target.gpu.memory_gb_s * self.clock / self._first_clock
        return _BYTES_A_CYCLE * self.clock * self._cores

    def _of_gpu(self, dtype: str) -> float:
        gpu = self._target.gpu
        known, guess = 0.0, _GPU_FLOAT32
        if dtype in ("int8", "uint8"):
            known, guess = gpu.tensor_int8_tops, _GPU_BYTE
        elif dtype in ("float16", "bfloat16"):
            known, guess = gpu.tensor_tflops, _GPU_HALF
        if known:
            return 1e12 * known / 2 * self.clock / self._first_clock
        return guess * self.clock * self._cores
