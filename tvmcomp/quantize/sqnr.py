"""How far quantization moves the outputs: signal over noise, and how sure that is.

The noise differs from sample to sample, often a hundredfold: a classifier that is sure of itself
gives the same answer in integers, and one sample at the border of two classes carries all the
noise. The mean over a few samples then says little about others, and is mostly too low. What is
judged is therefore an upper bound on the mean noise, which comes down with the number of samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tvmcomp.quantize.output_parts import Part

#: The noise's mean over all data would lie below the bound 19 times of 20 if means were distributed
#: normally; of uneven noise and few samples it is rather 3 times of 4.
_QUANTILE = 1.645


def sqnr_db(reference: np.ndarray, actual: np.ndarray) -> float:
    """Signal-to-quantization-noise ratio in dB: the variance of ``reference`` over the mean square
    of the error. A constant offset is no signal, so this never exceeds the plain power ratio.
    """
    signal, noise = powers(reference[None], actual[None])
    return _decibels(signal, float(noise[0]))


def bounded_sqnr_db(reference: np.ndarray, actual: np.ndarray) -> float:
    """A lower bound on the ratio, in dB, that other samples of the kind have on the whole.

    Args:
        reference: one output, stacked over the samples: ``[samples, ...]``.
        actual: the same, with something quantized.

    Returns:
        The variance of ``reference`` over the upper bound of the samples' mean noise: their mean
        and some standard errors of it, more of them the fewer samples there are. Of one sample the
        plain ratio.
    """
    signal, noise = powers(reference, actual)
    count = len(noise)
    mean = float(noise.mean())
    if count < 2 or not np.isfinite(mean):
        return _decibels(signal, mean)
    # Student's quantile, to the first order in 1 / count (Fisher's expansion).
    factor = _QUANTILE + (_QUANTILE**3 + _QUANTILE) / (4 * (count - 1))
    return _decibels(signal, mean + factor * float(noise.std(ddof=1)) / np.sqrt(count))


def in_parts(
    reference: np.ndarray, actual: np.ndarray, parts: Sequence[Part]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """An output as a whole, and each of its ``parts``, of which there are several, but for those
    that are 0 throughout; of both networks: ``[samples, ...]``.
    """
    for at in judged_places(reference, parts):
        yield reference[at], actual[at]


def judged_places(reference: np.ndarray, parts: Sequence[Part]) -> Iterator[Part]:
    """Where what :func:`in_parts` gives lies in an output ``[samples, ...]``."""
    yield (slice(None),)
    for part in parts if len(parts) > 1 else ():
        at = (slice(None), *part)
        if reference[at].any():
            yield at


def powers(reference: np.ndarray, actual: np.ndarray) -> tuple[float, np.ndarray]:
    """The power of the signal, and of each sample's noise; what is not finite must be alike."""
    count = len(reference)
    reference = reference.astype(np.float64).reshape(count, -1)
    actual = actual.reshape(count, -1)
    finite = np.isfinite(reference)
    same = (np.isfinite(actual) == finite).all(axis=1)
    with np.errstate(invalid="ignore"):
        error = np.where(finite & same[:, None], reference - actual, 0.0)
    counted = np.maximum(1, finite.sum(axis=1))
    noise = np.where(same, np.square(error).sum(axis=1) / counted, np.inf)
    seen = reference[finite]
    signal = float(np.var(seen)) if seen.size else 0.0
    if signal == 0 and seen.size:
        # A constant output: its own size is all there is to compare with.
        signal = float(np.mean(seen**2))
    return signal, noise


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return float("inf")
    if not np.isfinite(noise) or signal == 0:
        return float("-inf")
    return 10 * float(np.log10(signal / noise))
