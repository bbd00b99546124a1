"""A histogram that grows with its data, in one pass and in bounded memory."""

from __future__ import annotations

import math

import numpy as np

from tvmcomp.errors import CalibrationError

#: A histogram never holds more bins. One quantization step of the full range is then at least
#: 16 bins wide.
MAX_BINS = 8192


class Histogram:
    """Counts of the values observed so far.

    Bin ``i`` covers ``[(first + i) * width, (first + i + 1) * width)``. The width is a power of
    two and 0 is always an edge, so making room means adding pairs of neighbouring bins: nothing
    is resampled, and the result does not depend on the order in which the data came.

    Exact zeros are counted apart: every quantized range represents 0 exactly, so they say
    nothing of where the range should end, and after ReLU or in one-hot data they would drown
    the values that do. Infinities (attention masks) are left out, as they saturate anyhow.

    Attributes:
        lo, hi: exact smallest and largest finite value, 0.0 before the first one.
        zeros: how many values were exactly 0.
        counts: int64, the nonzero values in each bin.
        first: the index of ``counts[0]``.
        width: width of a bin.
    """

    def __init__(self) -> None:
        self.lo = math.inf
        self.hi = -math.inf
        self.zeros = 0
        self.first = 0
        self.counts = np.zeros(1, np.int64)
        self._exponent: int | None = None  # of the width; None until a value is not 0

    @property
    def width(self) -> float:
        """Width of a bin."""
        return 1.0 if self._exponent is None else math.ldexp(1.0, self._exponent)

    def observe(self, array: np.ndarray) -> None:
        """Count the values of ``array``, of any shape and float dtype.

        Raises:
            CalibrationError: it holds NaN.
        """
        flat = np.ascontiguousarray(array, np.float32).reshape(-1)
        lo, hi = finite_range(flat)
        if lo > hi:
            return
        if not math.isfinite(float(flat.min())) or not math.isfinite(float(flat.max())):
            flat = flat[np.isfinite(flat)]
        self.lo, self.hi = min(self.lo, lo), max(self.hi, hi)
        zeros = flat.size - int(np.count_nonzero(flat))
        self.zeros += zeros
        if zeros == flat.size:
            return
        self._make_room(min(lo, 0.0), max(hi, 0.0))
        from tvmcomp.quantize.bin_counts import count_in_bins  # compiles: not above

        count_in_bins(flat, 1.0 / self.width, self.first, self.counts)
        self.counts[-self.first] -= zeros

    def merged(self, max_bins: int) -> Histogram:
        """A copy whose bins are so wide that at most ``max_bins`` of them hold the data."""
        copy = Histogram()
        copy.lo, copy.hi, copy.zeros = self.lo, self.hi, self.zeros
        copy.first, copy.counts, copy._exponent = self.first, self.counts, self._exponent
        while len(copy.counts) > max_bins:
            copy._double_width()
        return copy

    def nonempty(self) -> tuple[np.ndarray, np.ndarray]:
        """Centres (float64) and counts (int64) of the bins that hold anything.

        The outermost bins end at the exact ``lo`` and ``hi``, so a value that occurs only there
        (the 1 of binary data) is where it was.
        """
        filled = np.flatnonzero(self.counts)
        left = (self.first + filled) * self.width
        lower = np.maximum(left, self.lo)
        upper = np.minimum(left + self.width, self.hi)
        return (lower + upper) / 2, self.counts[filled]

    def _make_room(self, lo: float, hi: float) -> None:
        """Widen bins and range until the bins of ``lo`` and of ``hi`` are held."""
        if self._exponent is None:
            # The finest width at which the larger side alone fits.
            self._exponent = math.frexp(max(-lo, hi))[1] - MAX_BINS.bit_length() + 1
        while True:
            first = min(self.first, math.floor(lo / self.width))
            last = max(self.first + len(self.counts) - 1, math.floor(hi / self.width))
            if last - first < MAX_BINS:
                break
            self._double_width()
        before, after = self.first - first, last - (self.first + len(self.counts) - 1)
        if before or after:
            self.counts = np.pad(self.counts, (before, after))
            self.first = first

    def _double_width(self) -> None:
        assert self._exponent is not None
        counts = np.pad(self.counts, (self.first % 2, (self.first + len(self.counts)) % 2))
        self.counts = counts.reshape(-1, 2).sum(axis=1)
        self.first //= 2
        self._exponent += 1


def finite_range(array: np.ndarray) -> tuple[float, float]:
    """Smallest and largest finite value of ``array``; ``(inf, -inf)`` where there is none.

    Raises:
        CalibrationError: it holds NaN.
    """
    if array.size == 0:
        return math.inf, -math.inf
    lo, hi = float(array.min()), float(array.max())
    if math.isnan(lo):
        raise CalibrationError(
            "an activation is NaN on the calibration data",
            hint="Check that the float network gives sensible outputs on these samples.",
        )
    if math.isfinite(lo) and math.isfinite(hi):
        return lo, hi
    finite = array[np.isfinite(array)]
    return finite_range(finite)
