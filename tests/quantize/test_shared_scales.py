"""Scales of tensors that meet in concatenations: which are one tree, and when they stay apart."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, relax, uniform

from tvmcomp import targets
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.rewriter import const, main_bindings, op_name
from tvmcomp.qparams import activation_qparams, dequantize, quantize
from tvmcomp.quantize.annotate import annotate
from tvmcomp.quantize.plan import plan_operators
from tvmcomp.quantize.shared_scales import MOST_LOST_DB, concat_trees, share_scales

RNG = np.random.default_rng(0)
SHAPE = (1, 6, 6, 8)


def conv(emit, x, channels, name):
    kernel = const(uniform(RNG, 8, 1, 1, channels))
    layouts = {"data_layout": "NHWC", "kernel_layout": "OHWI"}
    return emit(relax.op.nn.conv2d(x, kernel, **layouts), name)


def dense_block(emit, x):
    a = conv(emit, x, 8, "a")
    ab = emit(relax.op.concat([x, a], 3), "ab")
    b = conv(emit, ab, 16, "b")
    return conv(emit, emit(relax.op.concat([ab, b], 3), "abc"), 24, "c")


def two_trees(emit, x):
    pooled = emit(relax.op.nn.max_pool2d(x, 2, strides=2, layout="NHWC"), "pooled")
    twice = emit(relax.op.concat([pooled, pooled], 3), "twice")
    y = conv(emit, twice, 16, "y")
    first, second = (emit(relax.TupleGetItem(halves, i), f"half{i}") for halves in
                     [emit(relax.op.split(y, 2, axis=3), "halves")] for i in (0, 1))  # fmt: skip
    joined = emit(relax.op.concat([second, first], 3), "joined")
    return emit(relax.op.add(conv(emit, joined, 8, "z"), y), "sum")


def average(emit, x):
    pooled = emit(relax.op.nn.avg_pool2d(x, 2, strides=2, layout="NHWC"), "pooled")
    return conv(emit, emit(relax.op.concat([pooled, pooled], 3), "twice"), 16, "y")


@pytest.mark.parametrize(
    ("build", "trees"),
    [
        (dense_block, [["x", "a", "ab", "b", "abc"]]),
        (two_trees, [["x", "pooled", "twice"], ["y", "half0", "half1", "joined"]]),
        (average, [["pooled", "twice"]]),  # An average of x is other numbers.
        (lambda emit, x: conv(emit, x, 8, "y"), []),
    ],
)
def test_trees_of_concatenations(build, trees):
    mod = module(build, x=SHAPE)
    tensors = [*mod["main"].params, *(b.var for b in main_bindings(mod))]
    wanted = {name for tree in trees for name in tree}
    read = {v: None for v in tensors if v.name in wanted or not trees}
    assert [[v.name for v in tree] for tree in concat_trees(mod, read)] == trees


def with_ranges(build, ranges):
    mod = module(build, x=SHAPE)
    tensors = [*mod["main"].params, *(b.var for b in main_bindings(mod))]
    return mod, {v: activation_qparams(*ranges[v.name], "uint8") for v in tensors
                 if v.name in ranges}  # fmt: skip


def test_the_shared_range_holds_every_tensor_of_the_tree():
    mod, own = with_ranges(dense_block, {"x": (-1, 3), "ab": (-2, 3), "abc": (-2, 5)})
    together = share_scales(mod, own, lambda params: 40.0)
    (params,) = {id(p): p for p in together.values()}.values()
    for value in (-2.0, 0.0, 5.0):
        there = dequantize(quantize(np.float32([value]), params), params)
        assert abs(there[0] - value) <= float(params.scale) / 2


def test_only_the_tree_that_does_harm_stays_apart():
    ranges = {"x": (0, 1), "twice": (0, 50), "y": (0, 4), "joined": (0, 5)}
    mod, own = with_ranges(two_trees, ranges)
    names = {var.name: var for var in own}

    def sqnr(params):
        harmed = params[names["x"]] != own[names["x"]]
        return 40.0 - (MOST_LOST_DB * 1.1 if harmed else MOST_LOST_DB / 2)

    together = share_scales(mod, own, lambda p: 40.0 if p == own else sqnr(p))
    assert together[names["x"]] == own[names["x"]]
    assert together[names["twice"]] == own[names["twice"]]
    assert together[names["y"]] == together[names["joined"]] != own[names["y"]]


def test_trees_that_all_do_harm_stay_as_they_were():
    mod, own = with_ranges(two_trees, {"x": (0, 1), "twice": (0, 9), "y": (0, 4), "joined": (0, 5)})
    assert share_scales(mod, own, lambda p: 40.0 if p == own else 10.0) == own


def test_a_dense_block_of_one_scale_requantizes_nothing():
    """What was quantized for one concatenation is quantized for all: one operator a tensor."""
    mod = module(dense_block, x=SHAPE)
    plan = plan_operators(mod)
    params = dict.fromkeys(
        (var for operator in plan for var in operator.reads), activation_qparams(-2, 5, "uint8")
    )
    lowered = lower(annotate(mod, plan, params), targets.detect()).looped
    kernels = [b.value.args[0].name_hint for b in main_bindings(lowered)
               if op_name(b.value) == "call_tir"]  # fmt: skip
    requantize = [name for name in kernels if "quantize" in name and "rescale" not in name]
    # The network's input, in its place of the join.
    assert requantize == ["quantize_placed"]
