"""Channel scales: where channels differ they pay, where they don't nothing is changed."""

from __future__ import annotations

import numpy as np

from tvmcomp.quantize.rounding.equalization import Reader, equalizing_scales


def reader(rng, ranges, outputs=8):
    weight = rng.normal(size=(1, outputs, 1, len(ranges)))
    return Reader(weight, np.square(ranges / 3)[None])


def noise(scales, ranges, rng) -> float:
    """Of a product in 8 bits with channels so scaled, measured."""
    weight = rng.normal(size=(8, len(ranges)))
    data = np.abs(rng.normal(size=(2000, len(ranges)))) * ranges / 3
    x, w = data / scales, weight * scales
    step = x.max() / 255
    steps = np.abs(w).max(axis=1, keepdims=True) / 127
    given = (np.rint(x / step) * step) @ (np.rint(w / steps) * steps).T
    return float(np.square(data @ weight.T - given).mean())


def test_unequal_channels_are_brought_together() -> None:
    rng = np.random.default_rng(0)
    ranges = 2.0 ** rng.integers(-6, 1, 32)
    scales, share = equalizing_scales(ranges, [reader(rng, ranges), reader(rng, ranges)])
    assert scales.min() >= 2.0**-8 and scales.max() == 1
    assert np.ptp(np.log2(ranges / scales)) < np.ptp(np.log2(ranges))
    assert share < 0.5
    measured = noise(scales, ranges, np.random.default_rng(1))
    assert measured < 0.5 * noise(np.ones(32), ranges, np.random.default_rng(1))


def test_equal_channels_stay() -> None:
    rng = np.random.default_rng(0)
    for ranges in (np.full(16, 3.0), np.zeros(16)):
        scales, share = equalizing_scales(ranges, [reader(rng, np.ones(16))])
        np.testing.assert_array_equal(scales, np.ones(16))
        assert share == 1


def test_a_channel_that_is_always_0_is_not_scaled() -> None:
    rng = np.random.default_rng(0)
    ranges = np.array([0.0, 1.0, 0.01, 1e-9])
    scales, _ = equalizing_scales(ranges, [reader(rng, ranges)])
    assert scales[0] == 1
    assert np.isfinite(1 / scales).all() and scales.min() >= 2.0**-8
