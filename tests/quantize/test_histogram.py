import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tvmcomp.errors import CalibrationError
from tvmcomp.quantize.histogram import MAX_BINS, Histogram

values32 = st.floats(-(2.0**127), 2.0**127, width=32)


def histogram_of(*parts):
    histogram = Histogram()
    for part in parts:
        histogram.observe(part)
    return histogram


@settings(max_examples=200, deadline=None)  # the first call compiles
@given(arrays(np.float32, st.integers(1, 60), elements=values32), st.integers(0, 59))
def test_counts_every_value_in_its_bin(values, cut):
    histogram = histogram_of(values[:cut], values[cut:])
    assert len(histogram.counts) <= MAX_BINS
    assert (histogram.counts >= 0).all()
    assert histogram.zeros == (values == 0).sum()
    assert (histogram.lo, histogram.hi) == (values.min(), values.max())
    nonzero = values[values != 0].astype(np.float64)
    assert histogram.counts.sum() == nonzero.size
    index = np.floor(nonzero / histogram.width).astype(int) - histogram.first
    expected = np.bincount(index, minlength=len(histogram.counts))
    np.testing.assert_array_equal(histogram.counts, expected)


def test_does_not_depend_on_order_or_batches():
    rng = np.random.default_rng(0)
    parts = [rng.normal(scale=scale, size=5000) for scale in (1e-3, 40, 1, 7)]
    forward, backward = histogram_of(*parts), histogram_of(*parts[::-1])
    at_once = histogram_of(np.concatenate(parts))
    for other in (backward, at_once):
        assert forward.width == other.width
        np.testing.assert_array_equal(forward.nonempty()[0], other.nonempty()[0])
        np.testing.assert_array_equal(forward.nonempty()[1], other.nonempty()[1])


def test_uses_most_of_its_bins():
    histogram = histogram_of(np.linspace(-1, 3, 1000))
    assert MAX_BINS // 2 <= len(histogram.counts) <= MAX_BINS


def test_merging_keeps_all_counts():
    histogram = histogram_of(np.random.default_rng(0).normal(size=10_000))
    small = histogram.merged(100)
    assert len(small.counts) <= 100
    assert small.counts.sum() == histogram.counts.sum() == 10_000
    assert len(histogram.counts) > 100  # untouched


def test_infinities_are_left_out_and_nan_is_an_error():
    histogram = histogram_of(np.array([-np.inf, 1, 2, np.inf]), np.array([-np.inf]))
    assert (histogram.lo, histogram.hi, histogram.counts.sum()) == (1, 2, 2)
    with pytest.raises(CalibrationError, match="NaN"):
        histogram.observe(np.array([1, np.nan]))


def test_empty_array_is_nothing():
    assert histogram_of(np.zeros((0, 3))).counts.sum() == 0
