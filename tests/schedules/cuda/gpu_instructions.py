"""What the device functions of :mod:`tvmcomp.schedules.cuda.instructions` do, in numpy.

The places of a matrix's elements in a warp's registers are those of NVIDIA's PTX ISA ("Matrix
fragments for mma.m16n8k16", "... .m16n8k32", "... .m16n8k8" and "ldmatrix"): thread ``4 g + t`` has
of each register the 4 bytes ``t`` of line ``g``.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np

WARP = 32

#: A type's name in PTX -> numpy's.
ELEMENTS = {
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "tf32": np.float32,
    "s8": np.int8,
    "u8": np.uint8,
}


def matrices(rows: np.ndarray, transposed: bool) -> np.ndarray:
    """``ldmatrix.x4``.

    Args:
        rows: ``[warps * 32, 16]`` bytes: what each thread's address points at.
        transposed: ``.trans``, of elements of 16 bits.

    Returns:
        ``[warps * 32, 16]`` bytes: the four registers of each thread.
    """
    warps = rows.shape[0] // WARP
    four = rows.reshape(warps, 4, 8, 16)  # warp, matrix, row, byte
    if transposed:
        turned = four.reshape(warps, 4, 8, 8, 2).transpose(0, 1, 3, 2, 4)
        four = np.ascontiguousarray(turned).reshape(warps, 4, 8, 16)
    registers = four.reshape(warps, 4, 8, 4, 4).transpose(0, 2, 3, 1, 4)  # row, quarter, matrix
    return np.ascontiguousarray(registers).reshape(warps * WARP, 16)


def multiplied(
    left: np.ndarray, right: np.ndarray, sums: np.ndarray, first: str, second: str
) -> np.ndarray:
    """``mma.sync``: ``sums`` and the product.

    Args:
        left: ``[warps * 32, 16]`` bytes: four registers.
        right: ``[warps * 32, 8]`` bytes: two registers.
        sums: ``[warps * 32, 4]``.
        first, second: types of the sides, in PTX.
    """
    warps = left.shape[0] // WARP
    a = left.reshape(warps, 8, 4, 2, 2, 4)  # line of 8, quarter, half of the depth, upper lines
    a = np.ascontiguousarray(a.transpose(0, 4, 1, 3, 2, 5)).reshape(warps, 16, 32)
    b = right.reshape(warps, 8, 4, 2, 4)
    b = np.ascontiguousarray(b.transpose(0, 1, 3, 2, 4)).reshape(warps, 8, 32)
    wide = sums.dtype
    product = a.view(ELEMENTS[first]).astype(wide) @ b.view(ELEMENTS[second]).astype(
        wide
    ).transpose(0, 2, 1)
    c = sums.reshape(warps, 8, 4, 2, 2).transpose(0, 3, 1, 2, 4).reshape(warps, 16, 8) + product
    back = c.reshape(warps, 2, 8, 4, 2).transpose(0, 2, 3, 1, 4)
    return np.ascontiguousarray(back).reshape(warps * WARP, 4)
