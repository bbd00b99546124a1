"""Which joins and parts become kernels of their own, and which stay operators."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, operators, relax, run_plain, uniform

from tvmcomp.passes.lowering.keep_moves import keep_moves
from tvmcomp.passes.rewriter import const, main_bindings, op_name

RNG = np.random.default_rng(0)
SHAPE = (2, 5, 6, 8)


def conv(emit, x, name="conv"):
    kernel = const(uniform(RNG, 8, 1, 1, 8))
    return emit(relax.op.nn.conv2d(x, kernel, data_layout="NHWC", kernel_layout="OHWI"), name)


def join_of_windows(emit, x):
    a = emit(relax.op.nn.relu(conv(emit, x)), "a")
    return emit(relax.op.concat([a, emit(relax.op.nn.max_pool2d(x, layout="NHWC"), "b")], 3), "y")


def join_along_rows(emit, x):
    return emit(relax.op.concat([conv(emit, x), x], 1), "y")


def join_of_joins(emit, x):
    first = emit(relax.op.concat([conv(emit, x), x], 3), "first")
    return emit(relax.op.concat([first, emit(relax.op.negative(x), "n")], 3), "y")


def join_of_no_window(emit, x):
    return emit(relax.op.concat([x, emit(relax.op.negative(x), "n")], 3), "y")


def part_for_a_window(emit, x):
    wide = emit(relax.op.concat([conv(emit, x), x], 3), "wide")
    halves = emit(relax.op.split(wide, 2, axis=3), "halves")
    return conv(emit, emit(relax.TupleGetItem(halves, 1), "half"), "y")


def slice_for_a_window(emit, x):
    part = emit(relax.op.strided_slice(x, [1, 2], [-4, 1], [99, 3]), "part")
    return conv(emit, part, "y")


def every_other_row(emit, x):
    return conv(emit, emit(relax.op.strided_slice(x, [1], [0], [5], [2]), "part"), "y")


def part_for_arithmetic(emit, x):
    halves = emit(relax.op.split(conv(emit, x), 2, axis=3), "halves")
    first, second = (emit(relax.TupleGetItem(halves, i), f"h{i}") for i in range(2))
    return emit(relax.op.multiply(first, emit(relax.op.sigmoid(second), "gate")), "y")


@pytest.mark.parametrize(
    ("build", "kept"),
    [
        (join_of_windows, ["join"]),
        (join_along_rows, ["join"]),
        (join_of_joins, ["join", "join"]),
        (join_of_no_window, []),
        (part_for_a_window, ["join", "part"]),
        (slice_for_a_window, ["part"]),
        (every_other_row, []),
        (part_for_arithmetic, []),
    ],
)
def test_moves_of_windows_are_kernels(build, kept):
    mod = module(build, x=SHAPE)
    changed = keep_moves(mod)
    calls = [b.value for b in main_bindings(changed) if op_name(b.value) == "call_tir"]
    assert [str(call.args[0].name_hint).rstrip("0123456789") for call in calls] == kept
    moves = {"concat", "split", "strided_slice"} & set(operators(changed))
    assert bool(moves) == (not kept)
    x = uniform(np.random.default_rng(1), *SHAPE)
    np.testing.assert_array_equal(run_plain(changed, x)[0], run_plain(mod, x)[0])
