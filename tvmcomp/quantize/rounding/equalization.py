"""Channel scales that spread a tensor's channels over its range.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction"
(arXiv:1906.04721), and Xiao et al., "SmoothQuant" (arXiv:2211.10438): dividing a channel by s where
it is made, and multiplying by s the weights that read it, changes nothing in float. In integers the
tensor has one step for all channels, so a channel that uses a tenth of the range loses three bits;
the weights that read it have a step for each output, and better rounding makes theirs cheap.

    noise of the data    (step / 12) * sum over c of (s[c] * w[c])^2
    noise of the weights sum over o of (step[o] / 12) * sum over c of E[x[c]^2] / s[c]^2

(steps squared.) Of some powers of the channels' ranges the one is taken that makes the sum least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Powers of a channel's share of the range that are tried as its scale. Higher ones promise more,
#: and keep it on the samples only: a channel that fills the whole range there has no room left for
#: larger values, of which the others had plenty (EfficientNet-Lite0, fitted on crops of few
#: photographs: 27 dB on other crops of the same, 14 dB on other photographs).
_POWERS = (0.25, 0.5)
#: No channel is spread by more than this: what is nearly always 0 is not worth its weights' steps.
_LEAST = 2.0**-8
#: Noise of weights that are rounded by GPTQ, as a share of that of nearest ones, about.
_ROUNDING = 0.2
_DATA_STEPS, _WEIGHT_STEPS = 255, 127


@dataclass(frozen=True)
class Reader:
    """An anchor that reads the tensor.

    Attributes:
        weight: [G, O, T, I], G groups of I channels each, T taps.
        squares: [G, I], the mean square of each channel.
    """

    weight: np.ndarray
    squares: np.ndarray


def equalizing_scales(ranges: np.ndarray, readers: Sequence[Reader]) -> tuple[np.ndarray, float]:
    """What to divide the channels of a tensor by.

    Args:
        ranges: float [C], the extent of each channel's values, 0 included.
        readers: the anchors that read it; at least one.

    Returns:
        float64 [C], between 2^-8 and 1; and the noise with it, as a share of that without.
    """
    largest = ranges.max(initial=0)
    best, least = np.ones(len(ranges)), 1.0
    if largest == 0:
        return best, least
    shares = np.where(ranges > 0, np.maximum(ranges / largest, _LEAST), 1.0)
    before = [_noise(best, ranges, reader) for reader in readers]
    for power in _POWERS:
        scales = shares**power
        noise = np.mean(
            [
                _noise(scales, ranges, reader) / max(old, 1e-300)
                for reader, old in zip(readers, before, strict=True)
            ]
        )
        if noise < least:
            best, least = scales, float(noise)
    return best, least


def _noise(scales: np.ndarray, ranges: np.ndarray, reader: Reader) -> float:
    """The power of a reader's noise, all outputs together."""
    step = float((ranges / scales).max()) / _DATA_STEPS
    scales = scales.reshape(reader.squares.shape)  # [G, I]
    weight = reader.weight * scales[:, None, None, :]
    data_noise = step**2 * float(np.square(weight).sum())
    steps = np.abs(weight).max(axis=(2, 3), initial=0) / _WEIGHT_STEPS  # [G, O]
    power = (reader.squares / scales**2).sum(axis=1) * weight.shape[2]  # [G]
    weight_noise = float((np.square(steps).sum(axis=1) * power).sum())
    return data_noise + _ROUNDING * weight_noise
