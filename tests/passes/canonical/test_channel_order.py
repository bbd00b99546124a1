"""Shuffles of channels folded into weights: the numbers stay, and the shuffles go."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import assert_same_module, module, operators, relax, run_plain, uniform

from tvmcomp.passes.canonical.channel_order import channel_order
from tvmcomp.passes.canonical.channel_pieces import arranged, pieces_of
from tvmcomp.passes.canonical.channel_shuffle import channel_shuffles
from tvmcomp.passes.pipeline import canonical
from tvmcomp.passes.rewriter import const, shape_of

NHWC = {"data_layout": "NHWC", "kernel_layout": "OHWI"}


def shuffled(emit, x, groups, axis=1):
    """As networks write it: the channels apart, their two axes exchanged, and together again."""
    shape = shape_of(x)
    each = shape[axis] // groups
    apart = emit(relax.op.reshape(x, [*shape[:axis], groups, each, *shape[axis + 1 :]]), "apart")
    axes = [*range(axis), axis + 1, axis, *range(axis + 2, len(shape) + 1)]
    return emit(relax.op.reshape(emit(relax.op.permute_dims(apart, axes), "t"), shape), "shuffled")


def conv(emit, rng, x, channels, size=1, groups=1):
    kernel = const(uniform(rng, channels, shape_of(x)[1] // groups, size, size))
    y = emit(relax.op.nn.conv2d(x, kernel, padding=size // 2, groups=groups), "conv")
    biased = emit(relax.op.add(y, const(uniform(rng, 1, channels, 1, 1))), "biased")
    return emit(relax.op.nn.relu(biased), "relu")


def halves(emit, x):
    both = emit(relax.op.split(x, 2, axis=1), "both")
    return [emit(relax.TupleGetItem(both, i), f"half{i}") for i in range(2)]


def shuffle_units(emit, x, rng):
    y = conv(emit, rng, x, 24)
    for _ in range(4):
        first, second = halves(emit, y)
        branch = conv(emit, rng, second, 12)
        branch = conv(emit, rng, conv(emit, rng, branch, 12, 3, groups=12), 12)
        y = shuffled(emit, emit(relax.op.concat([first, branch], 1), "joined"), 2)
    return conv(emit, rng, y, 8)


def grouped(emit, x, rng):
    """ShuffleNet's first version: a shuffle between grouped and depthwise convolutions."""
    y = conv(emit, rng, conv(emit, rng, x, 12), 12, groups=3)
    y = conv(emit, rng, shuffled(emit, y, 3), 12, 3, groups=12)
    return conv(emit, rng, y, 12, groups=3)


def residual(emit, x, rng):
    y = conv(emit, rng, x, 12)
    z = shuffled(emit, y, 4)
    both = emit(relax.op.add(shuffled(emit, y, 4), emit(relax.op.sigmoid(z), "gate")), "sum")
    pooled = emit(relax.op.nn.max_pool2d(both, 2, strides=2), "pooled")
    return [conv(emit, rng, pooled, 8), emit(relax.op.mean(both, [2, 3]), "mean"), both]


def several_orders(emit, x, rng):
    y = conv(emit, rng, x, 12)
    mixed = emit(relax.op.add(shuffled(emit, y, 3), shuffled(emit, y, 2)), "mixed")
    three = emit(relax.op.split(shuffled(emit, mixed, 2), [2, 9], axis=1), "three")
    parts = [emit(relax.TupleGetItem(three, i), f"part{i}") for i in range(3)]
    return [conv(emit, rng, part, 5) for part in parts] + [parts[1]]


def of_rows(emit, x, rng):
    y = conv(emit, rng, x, 12)
    return conv(emit, rng, shuffled(emit, y, 2, axis=2), 8)


@pytest.mark.parametrize(
    ("build", "outputs", "left"),
    # What the network returns has its own order; a group's weights hold its own channels only; two
    # orders don't add up.
    [
        (shuffle_units, 1, 0),
        (grouped, 1, 1),
        (residual, 2, 2),
        (several_orders, 4, 3),
        (of_rows, 1, 1),
    ],
)
def test_shuffles_go_and_numbers_stay(build, outputs, left):
    mod = module(lambda emit, x: build(emit, x, np.random.default_rng(0)), x=(2, 6, 6, 5))
    ordered = canonical(mod)
    names = operators(ordered)
    # The others bring the input and the outputs into their layout.
    assert names.count("permute_dims") + names.count("take") - 1 - outputs == left
    x = uniform(np.random.default_rng(1), 2, 6, 6, 5)
    for actual, expected in zip(run_plain(ordered, x), run_plain(mod, x), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_a_shuffle_unit_is_slices_and_joins_that_copy_whole_pieces():
    rng = np.random.default_rng(0)
    mod = canonical(module(lambda emit, x: shuffle_units(emit, x, rng), x=(1, 6, 6, 5)))
    assert not {"reshape", "take", "split"} & set(operators(mod))


def test_before_and_after():
    kernel = np.arange(6, dtype=np.float32).reshape(1, 1, 1, 6)

    def before(emit, x):
        order = const(np.array([0, 2, 4, 1, 3, 5]))
        mixed = emit(relax.op.nn.relu(emit(relax.op.take(x, order, 3), "taken")), "mixed")
        return emit(relax.op.nn.conv2d(mixed, const(kernel), **NHWC), "y")

    def after(emit, x):
        mixed = emit(relax.op.nn.relu(x), "mixed")
        back = kernel[..., np.argsort([0, 2, 4, 1, 3, 5])]
        return emit(relax.op.nn.conv2d(mixed, const(back), **NHWC), "y")

    shape = (1, 3, 3, 6)
    assert_same_module(channel_order(module(before, x=shape)), module(after, x=shape))


def test_a_shuffle_is_recognized_in_any_layout():
    for axis in (1, 3):
        mod = module(lambda emit, x, axis=axis: shuffled(emit, x, 3, axis), x=(2, 6, 4, 12))
        assert operators(channel_shuffles(mod)) == ["take"]
        x = uniform(np.random.default_rng(1), 2, 6, 4, 12)
        np.testing.assert_array_equal(run_plain(channel_shuffles(mod), x)[0], run_plain(mod, x)[0])


def test_what_only_looks_like_a_shuffle_stays():
    def build(emit, x):
        apart = emit(relax.op.reshape(x, [2, 2, 3, 4, 4]), "apart")
        return emit(relax.op.reshape(emit(relax.op.permute_dims(apart, [0, 1, 3, 2, 4]), "t"),
                                     [2, 6, 4, 4]), "y")  # fmt: skip

    assert "take" not in operators(channel_shuffles(module(build, x=(2, 6, 4, 4))))


def test_the_part_that_runs_over_a_border_stays_in_one_piece():
    order = np.arange(8).reshape(2, 4).T.reshape(-1)
    parts = arranged([order[:4], order[4:]], [4, 4])
    assert [part.tolist() for part in parts] == [[0, 1, 4, 5], [6, 7, 2, 3]]
    assert pieces_of(np.concatenate(parts), [4, 4]) == [(0, 0, 2), (1, 0, 4), (0, 2, 4)]


def test_parts_of_many_small_runs_are_not_worth_it():
    assert arranged([np.arange(0, 64, 2), np.arange(1, 64, 2)], [64]) is None
