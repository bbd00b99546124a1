import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tvmcomp.errors import CalibrationError
from tvmcomp.qparams import activation_qparams, dequantize, quantize
from tvmcomp.quantize.observers import OBSERVERS

RNG = np.random.default_rng(0)
N = 100_000
NORMAL = RNG.normal(size=N)
DATA = {
    "normal": NORMAL,
    "relu": np.maximum(NORMAL, 0),
    "negative": -1 - np.abs(NORMAL),
    "laplace_outliers": RNG.laplace(size=N) * np.where(RNG.random(N) < 1e-4, 30, 1),
    "bimodal": np.concatenate([RNG.normal(-3, 0.2, N), RNG.normal(5, 0.5, N)]),
    "student": RNG.standard_t(3, size=N),
    "silu": 3 * NORMAL / (1 + np.exp(-3 * NORMAL)),
    "sigmoid": 1 / (1 + np.exp(-4 * NORMAL)),
    "softmax": np.exp(3 * NORMAL) / np.exp(3 * NORMAL).sum(),
    "huge_outlier": np.append(NORMAL, 1e4),
    "relu6": np.clip(3 * NORMAL, 0, 6),
}
DATA = {name: values.astype(np.float32) for name, values in DATA.items()}


def observed_range(observer, *parts):
    instance = OBSERVERS[observer]()
    for part in parts:
        instance.observe(part)
    return instance.range()


def mean_squared_error(values, lo, hi):
    qparams = activation_qparams(lo, hi, "uint8")
    error = dequantize(quantize(values, qparams), qparams).astype(np.float64) - values
    return np.mean(error**2)


def sqnr(values, observer):
    error = mean_squared_error(values, *observed_range(observer, values))
    return 10 * np.log10(np.mean(values.astype(np.float64) ** 2) / error)


@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("name", DATA)
def test_range_lies_within_the_data_and_holds_zero(observer, name):
    values = DATA[name]
    lo, hi = observed_range(observer, values)
    assert min(values.min(), 0) <= lo <= 0 <= hi <= max(values.max(), 0)
    assert lo < hi


@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("ones", [0.5, 0.01, 1e-4])
def test_binary_data_is_exact(observer, ones):
    values = (RNG.random(N) < ones).astype(np.float32)
    values[0] = 1
    assert observed_range(observer, values) == (0, 1)
    assert mean_squared_error(values, 0, 1) < 1e-14


@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("constant", [3.7, -0.02, 1e-20, 1e30])
def test_constant_data_is_exact(observer, constant):
    values = np.full((10, 10), constant, np.float32)
    lo, hi = observed_range(observer, values)
    assert (lo, hi) == (min(values[0, 0], 0), max(values[0, 0], 0))
    assert mean_squared_error(values, lo, hi) < (constant * 1e-6) ** 2


@pytest.mark.parametrize("observer", OBSERVERS)
def test_all_zero_data(observer):
    assert observed_range(observer, np.zeros((3, 4), np.float32)) == (0, 0)


@pytest.mark.parametrize("observer", OBSERVERS)
def test_nothing_observed_and_nan(observer):
    with pytest.raises(CalibrationError, match="no finite value"):
        observed_range(observer)
    with pytest.raises(CalibrationError, match="NaN"):
        observed_range(observer, np.array([np.nan], np.float32))


@pytest.mark.parametrize("observer", OBSERVERS)
def test_batches_and_order_make_no_difference(observer):
    parts = np.array_split(DATA["student"], 7)
    together = observed_range(observer, DATA["student"])
    assert observed_range(observer, *parts) == together
    assert observed_range(observer, *parts[::-1]) == together


@pytest.mark.parametrize("observer", OBSERVERS)
def test_attention_mask_of_minus_infinity(observer):
    lo, hi = observed_range(observer, np.append(DATA["normal"], -np.inf).astype(np.float32))
    assert -6 < lo < -3 and 3 < hi < 6


def test_percentile_saturates_the_tails():
    values = DATA["normal"]
    lo, hi = observed_range("percentile", values)
    expected = np.quantile(values, [0.00005, 0.99995])
    np.testing.assert_allclose([lo, hi], expected, rtol=0.02)


def test_entropy_clips_a_lone_outlier_and_keeps_both_kinds_of_side():
    lo, hi = observed_range("entropy", np.append(np.abs(DATA["normal"]), np.float32(20)))
    assert lo == 0 and 3 < hi < 10
    lo, hi = observed_range("entropy", DATA["silu"])
    assert lo == DATA["silu"].min() and hi < DATA["silu"].max()


@pytest.mark.parametrize("name", DATA)
def test_mse_is_the_best_of_all(name):
    best = sqnr(DATA[name], "mse")
    for observer in OBSERVERS:
        assert best >= sqnr(DATA[name], observer) - 0.1, observer


@pytest.mark.parametrize("name", ["normal", "laplace_outliers", "student"])
def test_mse_gains_where_there_are_tails(name):
    assert sqnr(DATA[name], "mse") > sqnr(DATA[name], "minmax") + 0.5


@pytest.mark.parametrize("name", ["normal", "relu", "silu", "laplace_outliers"])
def test_mse_is_close_to_an_exhaustive_search(name):
    values = DATA[name][:20_000]
    lo, hi = observed_range("minmax", values)
    grid = np.linspace(0.1, 1, 31)
    lowest = min(mean_squared_error(values, lo * a, hi * b) for a in grid for b in grid)
    assert mean_squared_error(values, *observed_range("mse", values)) <= lowest * 1.02


@settings(max_examples=150, deadline=None)
@given(arrays(np.float32, st.integers(1, 200), elements=st.floats(-1e5, 1e5, width=32)))
def test_mse_is_never_worse_than_minmax(values):
    minmax = mean_squared_error(values, *observed_range("minmax", values))
    clipped = mean_squared_error(values, *observed_range("mse", values))
    # Within a bin, values are known to 1/4096 of the range only.
    span = max(values.max(), 0) - min(values.min(), 0)
    assert clipped**0.5 <= minmax**0.5 + float(span) / 4096 + 1e-30


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(list(OBSERVERS)),
    arrays(np.float32, st.integers(1, 50), elements=st.floats(-(2.0**127), 2.0**127, width=32)),
)
def test_any_data_gives_a_usable_range(observer, values):
    lo, hi = observed_range(observer, values)
    assert min(values.min(), 0) <= lo <= 0 <= hi <= max(values.max(), 0)
    activation_qparams(lo, hi, "int8")


@pytest.mark.parametrize("observer", OBSERVERS)
def test_observing_a_million_values_is_fast(observer):
    values = np.random.default_rng(0).normal(size=1_000_000).astype(np.float32)
    instance = OBSERVERS[observer]()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        instance.observe(values)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05  # about 3 ms; the rest is for a busy machine
