"""When two kernels count as computing the same."""

import ml_dtypes
import numpy as np
import pytest

from tvmcomp.tuning.compare import difference, random_array
from tvmcomp.tuning.log.record import Argument


def bits(values):
    return np.array(values, ml_dtypes.bfloat16).view(np.uint16)


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float16", "bfloat16", "float64"])
def test_numbers_are_between_one_and_minus_one(dtype):
    """In uint16 lie the bits of bfloat16: as integers, one in 256 would be no number."""
    array = random_array(Argument(dtype, (64, 64)), 0)
    assert array.dtype == np.dtype(getattr(ml_dtypes, dtype, dtype))
    numbers = array.view(ml_dtypes.bfloat16) if dtype == "uint16" else array
    numbers = numbers.astype(np.float64)
    assert np.abs(numbers).max() <= 1.0 and numbers.std() > 0.5


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_small_integers_are_of_their_whole_range(dtype):
    array = random_array(Argument(dtype, (64, 64)), 0)
    assert (array.min(), array.max()) == (np.iinfo(dtype).min, np.iinfo(dtype).max)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_indices_stay_small(dtype):
    assert set(np.unique(random_array(Argument(dtype, (64,)), 0))) == {0, 1}


def test_rounding_is_no_difference():
    assert not difference([np.float32([1.0, 2.0])], [np.float32([1.00001, 2.0])])
    assert not difference([np.uint8([3, 7])], [np.uint8([4, 7])])
    assert not difference([np.float32([np.nan])], [np.float32([np.nan])])
    assert not difference([bits([1.0, -2.0])], [bits([1.01, -2.0])])
    assert not difference([bits([0.001, 4.0])], [bits([-0.001, 4.0])])


def test_more_is():
    assert "50%" in difference([np.float32([1.0, 2.0])], [np.float32([1.1, 2.0])])
    assert difference([np.uint8([3])], [np.uint8([5])])
    assert difference([np.int32([3])], [np.int32([4])])
    assert difference([bits([1.0, -2.0])], [bits([1.2, -2.0])])
    assert difference([np.float32([np.nan])], [np.float32([1.0])])
