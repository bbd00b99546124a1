"""Scales: the largest weight at 8 bits, the least squared error below."""

from __future__ import annotations

import numpy as np
import pytest

from tvmcomp.qparams import weight_qparams
from tvmcomp.quantize.rounding.codes import nearest
from tvmcomp.quantize.rounding.weight_scales import weight_scales

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_t(3, size=(10, 300)).astype(np.float32)


def squared_errors(scale, bits, importance=1.0):
    error = WEIGHT - nearest(WEIGHT, scale, bits) * scale[:, None]
    return (importance * np.square(error)).sum(axis=1)


def test_8_bits_are_those_of_the_quantizer() -> None:
    np.testing.assert_array_equal(weight_scales(WEIGHT, 8), weight_qparams(WEIGHT, 0).scale)


@pytest.mark.parametrize("bits", [3, 4, 6])
def test_a_cut_is_better_than_none_and_near_the_best_one(bits: int) -> None:
    scale = weight_scales(WEIGHT, bits)
    whole = np.abs(WEIGHT).max(axis=1) / (2 ** (bits - 1) - 1)
    found = squared_errors(scale, bits)
    assert (found <= squared_errors(whole.astype(np.float32), bits) * 1.01).all()
    if bits < 6:
        assert found.sum() < 0.8 * squared_errors(whole.astype(np.float32), bits).sum()
    finely = [
        squared_errors((share * whole).astype(np.float32), bits)
        for share in np.linspace(0.2, 1, 300)
    ]
    assert (found <= np.min(finely, axis=0) * 1.15).all()


def test_inputs_count_by_their_size() -> None:
    importance = np.ones(300)
    importance[np.abs(WEIGHT).max(axis=0).argsort()[-20:]] = 1e4
    plain, weighted = weight_scales(WEIGHT, 4), weight_scales(WEIGHT, 4, importance)
    before = squared_errors(plain, 4, importance).sum()
    assert squared_errors(weighted, 4, importance).sum() < 0.7 * before


def test_scales_are_bfloat16_and_positive() -> None:
    weight = np.concatenate([WEIGHT, np.zeros((1, 300), np.float32)])
    scale = weight_scales(weight, 4)
    assert scale.dtype == np.float32 and (scale > 0).all() and scale[-1] == 1
    assert not (scale.view(np.uint32) & 0xFFFF).any()
    groups = weight_scales(weight.reshape(11, 3, 100), 4, np.ones((11, 100)))
    assert groups.shape == (11, 3)


def test_a_weight_with_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        weight_scales(np.full((2, 2), np.nan, np.float32), 4)
