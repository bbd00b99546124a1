"""GPTQ: against its paper's own algorithm, and never worse than the nearest codes."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tvmcomp.quantize.rounding.codes import largest_code, nearest
from tvmcomp.quantize.rounding.gptq import gptq, hessian_error
from tvmcomp.quantize.rounding.weight_scales import weight_scales


def problem(seed: int, outputs: int, inputs: int, groups: tuple[int, ...] = ()):
    """A weight and the Hessian of inputs that depend on each other."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(*groups, inputs, inputs)) * rng.lognormal(0, 1, inputs)
    data = rng.normal(size=(*groups, 3 * inputs, inputs)) @ mixing
    data = np.maximum(data, 0)
    weight = rng.normal(size=(*groups, outputs, inputs)).astype(np.float32)
    return weight, np.swapaxes(data, -1, -2) @ data / len(data)


def errors(weight, codes, scale, hessian):
    return hessian_error(weight - codes * scale[..., None].astype(np.float64), hessian)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("inputs", [1, 9, 200])  # 200: more than a block
def test_never_worse_than_nearest_and_better_on_the_whole(bits: int, inputs: int) -> None:
    weight, hessian = problem(bits, 24, inputs)
    scale = weight_scales(weight, bits)
    codes = gptq(weight, hessian, scale, bits)
    assert codes.dtype == np.int8 and np.abs(codes).max() <= largest_code(bits)
    damped = hessian + 0.01 * np.trace(hessian) / inputs * np.eye(inputs)
    ours = errors(weight, codes, scale, damped)
    plain = errors(weight, nearest(weight, scale, bits), scale, damped)
    assert (ours <= plain * (1 + 1e-9)).all()
    if inputs > 1:
        assert ours.sum() < 0.75 * plain.sum()


def test_it_is_the_papers_algorithm() -> None:
    weight, hessian = problem(0, 5, 12)
    scale = weight_scales(weight, 4)
    order = np.argsort(-np.diag(hessian), kind="stable")
    damped = hessian[np.ix_(order, order)] + 0.01 * np.trace(hessian) / 12 * np.eye(12)
    inverse = np.linalg.cholesky(np.linalg.inv(damped)).T  # upper triangular
    left = weight[:, order].astype(np.float64)
    expected = np.empty(left.shape)
    for i in range(12):
        expected[:, i] = np.clip(np.rint(left[:, i] / scale), -7, 7)
        error = (left[:, i] - expected[:, i] * scale) / inverse[i, i]
        left[:, i:] -= error[:, None] * inverse[i, i:]
    codes = gptq(weight, hessian, scale, 4)[:, order]
    plain = nearest(weight, scale, 4)[:, order]
    same = (codes == expected).all(axis=1)
    assert same.sum() >= 4  # The other rows are those where the nearest codes are better.
    assert (codes[~same] == plain[~same]).all()


def test_groups_are_rounded_each_by_its_own_data() -> None:
    weight, hessian = problem(1, 2, 9, groups=(6,))
    scale = weight_scales(weight, 4)
    codes = gptq(weight, hessian, scale, 4)
    for group in range(6):
        np.testing.assert_array_equal(
            codes[group], gptq(weight[group], hessian[group], scale[group], 4)
        )


def test_inputs_that_are_always_0_get_the_nearest_codes() -> None:
    weight, hessian = problem(2, 8, 16)
    dead = np.arange(16) % 3 == 0
    hessian[dead] = 0
    hessian[:, dead] = 0
    scale = weight_scales(weight, 3)
    plain = nearest(weight, scale, 3)
    np.testing.assert_array_equal(gptq(weight, hessian, scale, 3)[:, dead], plain[:, dead])
    np.testing.assert_array_equal(gptq(weight, np.zeros((16, 16)), scale, 3), plain)


def test_zeros_stay_and_the_others_make_up_for_the_rest() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(500, 32)) @ rng.normal(size=(32, 32))
    hessian = inputs.T @ inputs / len(inputs)
    weight = rng.normal(size=(16, 32)) * (rng.random((16, 32)) < 0.5)
    scale = weight_scales(weight, 4)
    codes = gptq(weight, hessian, scale, 4)
    assert not codes[weight == 0].any()
    error, plain = (weight - c * scale[:, None] for c in (codes, nearest(weight, scale, 4)))
    assert hessian_error(error, hessian).sum() < 0.9 * hessian_error(plain, hessian).sum()


def test_fewer_samples_than_inputs() -> None:
    rng = np.random.default_rng(3)
    data = rng.normal(size=(5, 40)).astype(np.float32)
    weight = rng.normal(size=(7, 40)).astype(np.float32)
    scale = weight_scales(weight, 4)
    codes = gptq(weight, data.T @ data, scale, 4)
    plain = nearest(weight, scale, 4)
    noise = [np.square((weight - q * scale[:, None]) @ data.T).sum() for q in (codes, plain)]
    assert noise[0] < 0.1 * noise[1]


@pytest.mark.parametrize(
    ("hessian", "scale", "bits", "message"),
    [
        (np.eye(3), np.ones(2), 4, "Hessian of"),
        (np.eye(4), np.ones(3), 4, "scales of"),
        (np.eye(4), np.ones(2), 9, "9 bits"),
        (np.eye(4), np.ones(2), 1, "1 bits"),
        (np.full((4, 4), np.nan), np.ones(2), 4, "not finite"),
        (-np.eye(4), np.ones(2), 4, "mean of squares"),
    ],
)
def test_refusals(hessian, scale, bits, message) -> None:
    with pytest.raises(ValueError, match=message):
        gptq(np.ones((2, 4), np.float32), hessian, scale.astype(np.float32), bits)


@pytest.mark.slow
def test_a_wide_layer_takes_seconds() -> None:
    rng = np.random.default_rng(4)
    data = rng.normal(size=(5000, 4608)).astype(np.float32)
    weight = rng.normal(size=(512, 4608)).astype(np.float32)
    hessian = data.T @ data
    begin = time.process_time()
    gptq(weight, hessian, weight_scales(weight, 8), 8)
    assert time.process_time() - begin < 60
