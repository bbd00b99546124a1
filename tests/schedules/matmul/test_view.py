"""Views: index by index the same as numpy's transposes, reshapes, slices and broadcasts."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvmcomp.schedules.matmul.output_axes import is_writable, roles_of, row_dimension
from tvmcomp.schedules.matmul.view import View


def seen(view: View, data: np.ndarray) -> np.ndarray:
    """``data`` through ``view``, element by element."""
    out = np.empty(view.shape, data.dtype)
    for at in np.ndindex(*view.shape):
        out[at] = data[tuple(view.index(at))]
    return out


@st.composite
def factored_shapes(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """A shape, and another of as many elements: each dimension a product of some of the same
    factors, in the same order."""
    factors = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))

    def grouped() -> list[int]:
        cuts = sorted(draw(st.lists(st.integers(0, len(factors)), max_size=4)))
        bounds = [0, *cuts, len(factors)]
        return [prod(factors[a:b]) for a, b in pairwise(bounds)]

    return grouped(), grouped()


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.data())
def test_any_chain_equals_numpy(data):
    shape, other = data.draw(factored_shapes())
    array = np.arange(prod(shape)).reshape(shape)
    view, expected = View.of(shape), array
    for step in data.draw(st.lists(st.sampled_from("prsb"), max_size=5)):
        rank = expected.ndim
        if step == "p":
            axes = data.draw(st.permutations(range(rank)))
            view, expected = view.permute(axes), expected.transpose(axes)
        elif step == "r":
            target = other if prod(other) == expected.size else [expected.size]
            reshaped = view.reshape(target)
            if reshaped is not None:
                view, expected = reshaped, expected.reshape(target)
        elif step == "s" and rank:
            axis = data.draw(st.integers(0, rank - 1))
            begin = data.draw(st.integers(0, expected.shape[axis] - 1))
            extent = data.draw(st.integers(1, expected.shape[axis] - begin))
            sliced = view.slice(axis, begin, extent)
            if sliced is not None:
                window = slice(begin, begin + extent)
                view, expected = sliced, expected[(slice(None),) * axis + (window,)]
        elif step == "b":
            repeated = (2, *(3 if size == 1 else size for size in expected.shape))
            view, expected = view.broadcast(repeated), np.broadcast_to(expected, repeated)
        assert view.shape == expected.shape
    if expected.size <= 4096:
        np.testing.assert_array_equal(seen(view, array), expected)


def test_heads_split_off_are_a_view():
    view = View.of((1, 5, 24)).reshape((1, 5, 3, 8)).permute((0, 2, 3, 1))
    assert view.index((0, 2, 7, 4)) == [0, 4, 2 * 8 + 7]


def test_a_dimension_that_goes_on_in_memory_is_one_run():
    """So its index has no division in it."""
    view = View.of((4, 24)).reshape((4, 3, 8)).reshape((4, 24))
    assert view == View.of((4, 24))


def test_what_needs_a_copy_is_no_view():
    assert View.of((4, 6)).permute((1, 0)).reshape((8, 3)) is None
    merged = View.of((4, 6)).permute((1, 0)).reshape((24,))
    assert merged is not None
    assert merged.slice(0, 1, 5) is None


@pytest.mark.parametrize(
    ("axes", "contiguous"), [((0, 1), True), ((1, 0), False)], ids=["rows", "transposed"]
)
def test_neighbours_in_memory(axes, contiguous):
    assert View.of((4, 6)).permute(axes).contiguous(1) is contiguous


def test_heads_joined_again_can_be_written():
    output = View.of((2, 3, 5, 8)).permute((0, 2, 1, 3)).reshape((2, 5, 24))
    assert is_writable(output)
    assert row_dimension(output) == 1
    assert roles_of(output) == ["batch 2", "rows 5", "batch 3,columns 8"]


@pytest.mark.parametrize(
    "output",
    [
        View.of((2, 5, 8)).permute((0, 2, 1)),  # the columns are not side by side
        View.of((2, 5, 8)).reshape((2, 40)),  # the rows are no dimension of their own
        View.of((2, 5, 8)).reshape((2, 5, 2, 4)),  # the columns are divided
        View.of((2, 5, 8)).broadcast((3, 2, 5, 8)),
    ],
)
def test_what_the_schedules_can_not_write(output):
    assert not is_writable(output)
