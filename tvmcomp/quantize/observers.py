"""Observers: each sees a tensor's values over the calibration samples and says what range to keep.

A range wider than the data wastes integers; a narrower one saturates its ends. The observers
differ only in what they count as a loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np

from tvmcomp.errors import CalibrationError
from tvmcomp.qparams import activation_qparams
from tvmcomp.quantize.histogram import Histogram, finite_range


class Observer(Protocol):
    """Sees a tensor's values, array by array, then gives the range to quantize it in."""

    def observe(self, array: np.ndarray) -> None:
        """Take in one array of the tensor, of any shape and float dtype."""

    def range(self) -> tuple[float, float]:
        """``(lo, hi)``, both finite, ``lo <= 0 <= hi``: a quantized range always holds 0.

        Neither end lies beyond the observed values, save for holding 0.

        Raises:
            CalibrationError: nothing finite was observed.
        """


#: Every observer by its name in a quantization config.
OBSERVERS: dict[str, Callable[[], Observer]] = {}

C = TypeVar("C", bound=Callable[[], Observer])


def register(name: str) -> Callable[[C], C]:
    """Make the decorated observer known as ``name``."""

    def decorate(observer: C) -> C:
        OBSERVERS[name] = observer
        return observer

    return decorate


@register("minmax")
class MinMaxObserver:
    """The smallest and the largest value: nothing saturates (Jacob et al., arXiv:1712.05877)."""

    def __init__(self) -> None:
        self._lo, self._hi = np.inf, -np.inf

    def observe(self, array: np.ndarray) -> None:
        """See :class:`Observer`."""
        lo, hi = finite_range(array)
        self._lo, self._hi = min(self._lo, lo), max(self._hi, hi)

    def range(self) -> tuple[float, float]:
        """See :class:`Observer`."""
        return _with_zero(self._lo, self._hi)


class _HistogramObserver:
    """What the observers that look at the whole distribution share."""

    def __init__(self) -> None:
        self.histogram = Histogram()

    def observe(self, array: np.ndarray) -> None:
        """See :class:`Observer`."""
        self.histogram.observe(array)

    def range(self) -> tuple[float, float]:
        """See :class:`Observer`."""
        lo, hi = _with_zero(self.histogram.lo, self.histogram.hi)
        if not self.histogram.counts.any():
            return lo, hi  # all zero
        return self._clip(lo, hi)

    def _clip(self, lo: float, hi: float) -> tuple[float, float]:
        """The part to keep of ``[lo, hi]``, which holds 0, all values, and one that is not 0."""
        raise NotImplementedError


@register("percentile")
class PercentileObserver(_HistogramObserver):
    """Saturates the outermost 0.01 % of the nonzero values, shared between the two ends.

    Wu et al., "Integer Quantization for Deep Learning Inference" (arXiv:2004.09602), find
    99.99 % and 99.999 % to work and 99.9 % to cost accuracy.
    """

    KEEP = 0.9999

    def _clip(self, lo: float, hi: float) -> tuple[float, float]:
        histogram = self.histogram
        edges = (histogram.first + np.arange(len(histogram.counts) + 1)) * histogram.width
        edges = np.clip(edges, histogram.lo, histogram.hi)  # as in Histogram.nonempty
        # Interpolating the cumulative count takes values as evenly spread within their bin.
        cumulative = np.concatenate([[0], np.cumsum(histogram.counts)]) / histogram.counts.sum()
        tail = (1 - self.KEEP) / 2
        low, high = np.interp([tail, 1 - tail], cumulative, edges)
        return _with_zero(float(low), float(high))


@register("entropy")
class EntropyObserver(_HistogramObserver):
    """The threshold whose quantized distribution loses the least information.

    Minimises the Kullback-Leibler divergence between the distribution and its 8-bit version
    (Migacz, "8-bit Inference with TensorRT", GTC 2017). There the range is symmetric; here the
    threshold T gives ``[max(lo, -T), min(hi, T)]``, so one-sided data (ReLU, sigmoid) and skewed
    data (SiLU) use all 256 integers.
    """

    BINS = 2048  # as in the paper: with more, a bin's count is mostly noise
    CANDIDATES = 128

    def _clip(self, lo: float, hi: float) -> tuple[float, float]:
        histogram = self.histogram.merged(self.BINS)
        centres, counts = histogram.nonempty()
        largest = max(-lo, hi)
        # Below 128 bins there are no more bins than integers, and no divergence to compare.
        smallest = min(largest, 128 * histogram.width)
        best, kept = np.inf, largest
        for threshold in np.linspace(largest, smallest, self.CANDIDATES):
            low, high = max(lo, -threshold), min(hi, threshold)
            divergence = _divergence(centres, counts, low, high)
            # Only a clear gain is worth saturating values for.
            if divergence < best - 1e-9:
                best, kept = divergence, threshold
        return max(lo, -float(kept)), min(hi, float(kept))


@register("mse")
class MSEObserver(_HistogramObserver):
    """The range whose quantization has the smallest mean squared error, each end on its own.

    Balances rounding noise, which shrinks with the range, against saturation, which grows
    (Choukroun et al., arXiv:1902.06822; Banner et al., arXiv:1810.05723, the latter with a
    Gaussian or Laplace model in place of the histogram). Never worse than min-max by its own
    measure, as the search starts from there.
    """

    #: Factors tried on an end: down to 1/32, then around what that found.
    COARSE = 2.0 ** (-np.arange(1, 41) / 8)
    FINE = 2.0 ** (np.arange(-7, 8) / 64)

    def _clip(self, lo: float, hi: float) -> tuple[float, float]:
        centres, counts = self.histogram.nonempty()
        best = _squared_error(centres, counts, lo, hi)
        for ratios in (self.COARSE, self.FINE):
            for end in ("hi", "lo", "hi", "lo"):  # the best end depends a little on the other
                old_lo, old_hi = lo, hi
                if (old_lo if end == "lo" else old_hi) == 0:
                    continue
                for ratio in ratios:
                    low = max(old_lo * ratio, self.histogram.lo) if end == "lo" else lo
                    high = min(old_hi * ratio, self.histogram.hi) if end == "hi" else hi
                    # A step narrower than a bin is finer than what the histogram can judge.
                    if low > 0 or high < 0 or high - low < 255 * self.histogram.width:
                        continue
                    error = _squared_error(centres, counts, low, high)
                    if error < best:
                        best, lo, hi = error, low, high
        return lo, hi


def _with_zero(lo: float, hi: float) -> tuple[float, float]:
    """The observed range widened to hold 0.

    Raises:
        CalibrationError: nothing was observed.
    """
    if lo > hi:
        raise CalibrationError(
            "no finite value of an activation was seen in calibration",
            hint="Check that the calibration data reaches every part of the network.",
        )
    return min(lo, 0.0), max(hi, 0.0)


def _steps(centres: np.ndarray, lo: float, hi: float) -> tuple[np.ndarray, np.ndarray]:
    """The integers (float64) of bin centres quantized in ``[lo, hi]``, and their real values."""
    qparams = activation_qparams(lo, hi, "uint8")
    scale, zero_point = float(qparams.scale), int(qparams.zero_point)
    integers = np.rint(centres / scale)
    np.clip(integers, -zero_point, 255 - zero_point, out=integers)
    return integers + zero_point, integers * scale


def _squared_error(centres: np.ndarray, counts: np.ndarray, lo: float, hi: float) -> float:
    """Sum of squared errors of values at ``centres`` quantized in ``[lo, hi]``."""
    error = centres - _steps(centres, lo, hi)[1]
    return float(np.dot(error * error, counts))


def _divergence(centres: np.ndarray, counts: np.ndarray, lo: float, hi: float) -> float:
    """KL divergence, in nats, of the distribution quantized in ``[lo, hi]`` from the original.

    The original has its saturated values at the outermost bins kept. The quantized one knows
    only the kept values, and spreads each integer's count evenly over the bins that held any.
    """
    inside = (centres >= lo) & (centres <= hi)
    if not inside.any():
        return np.inf
    kept = counts[inside].astype(np.float64)
    reference = kept.copy()
    reference[0] += counts[centres < lo].sum()
    reference[-1] += counts[centres > hi].sum()
    integers = _steps(centres[inside], lo, hi)[0].astype(np.intp)
    spread = np.bincount(integers, kept) / np.maximum(np.bincount(integers), 1)
    quantized = spread[integers]
    ratio = (reference / reference.sum()) / (quantized / quantized.sum())
    return float(np.dot(reference / reference.sum(), np.log(ratio)))
