"""Bias correction: the mean result of rounded weights and data is the float one."""

from __future__ import annotations

import numpy as np

from tvmcomp.quantize.rounding.bias_correction import bias_correction


def test_it_removes_the_mean_error() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3, 4, 6)).astype(np.float32)  # 3 groups
    rounded = np.rint(weight * 3) / np.float32(3)
    data = rng.uniform(0, 2, size=(3, 500, 6)).astype(np.float32)
    coarse = np.floor(data * 4) / 4  # always too low: a shift
    correction = bias_correction(weight, rounded, data.mean(axis=1), coarse.mean(axis=1))
    wanted = data @ np.swapaxes(weight, 1, 2)
    given = coarse @ np.swapaxes(rounded, 1, 2)
    before = np.abs((wanted - given).mean(axis=1))
    after = np.abs((wanted - given - correction[:, None]).mean(axis=1))
    assert correction.dtype == np.float32 and correction.shape == (3, 4)
    assert before.max() > 0.1
    assert after.max() < 1e-5
