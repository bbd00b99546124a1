"""Products of two activations: what becomes one kernel, what is folded into it, and the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, operators, relax, run_plain, tensor, uniform

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.passes.lowering.lower_anchors import lower_anchors
from tvmcomp.passes.lowering.lower_matmul import lower_matmul
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.rewriter import const, main_bindings
from tvmcomp.tvm_import import tvm

HERE = targets.detect()
op = relax.op


def check(mod, *inputs):
    actual, _ = run_here(mod, HERE, inputs)
    for a, e in zip(actual, run_plain(mod, *inputs), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5)


def heads(emit, x, name, count=3, order=(0, 2, 1, 3)):
    """``[batch, length, channels]`` as ``[batch, heads, length, width]``, or in another order."""
    batch, length, channels = (int(dim) for dim in x.ty.shape)
    split = emit(op.reshape(x, (batch, length, count, channels // count)), f"{name}_split")
    return emit(op.permute_dims(split, order), f"{name}_heads")


def joined(emit, x):
    """Heads side by side in the channels again."""
    batch, count, length, width = (int(dim) for dim in x.ty.shape)
    moved = emit(op.permute_dims(x, (0, 2, 1, 3)), "moved")
    return emit(op.reshape(moved, (batch, length, count * width)), "joined")


def attend(emit, scores, v):
    weights = emit(op.nn.softmax(scores, axis=-1), "weights")
    return emit(op.matmul(weights, v), "mean")


def operands(rng, batch=2, rows=37, keys=37, channels=24):
    return [uniform(rng, batch, n, channels) for n in (rows, keys, keys)]


def shapes(arrays):
    return {name: array.shape for name, array in zip("qkv", arrays, strict=True)}


def scores_of(emit, q, k):
    keys = heads(emit, k, "k", order=(0, 2, 3, 1))
    return emit(op.matmul(heads(emit, q, "q"), keys), "scores")


def test_attention_with_all_that_moves_around_it_is_one_kernel():
    def build(emit, q, k, v, mask):
        scaled = emit(op.divide(scores_of(emit, q, k), relax.const(2.5, "float32")), "scaled")
        wide = emit(op.expand_dims(mask, [1, 2]), "wide")
        masked = emit(op.add(scaled, wide), "masked")
        return joined(emit, attend(emit, masked, heads(emit, v, "v")))

    rng = np.random.default_rng(0)
    arrays = operands(rng)
    mask = uniform(rng, 2, 37)
    mod = module(build, **shapes(arrays), mask=mask.shape)
    lowered = lower_matmul(mod, HERE)
    assert operators(lowered) == ["call_tir mean"]
    (binding,) = main_bindings(lowered)
    assert [arg.name for arg in binding.value.args[1].fields] == ["q", "k", "v", "mask"]
    check(mod, *arrays, mask)


@pytest.mark.parametrize("slicing", ["split", "take", "strided_slice"])
def test_a_joint_projection_is_read_in_place(slicing):
    """As in vision transformers: queries, keys and values are slices of one tensor."""
    shape = (1, 21, 3 * 2 * 8)

    def build(emit, x):
        split = emit(op.reshape(x, (1, 21, 3, 2, 8)), "split")
        moved = emit(op.permute_dims(split, (2, 0, 3, 1, 4)), "moved")
        if slicing == "split":
            whole = emit(op.split(moved, 3, axis=0), "parts")
        parts = []
        for i in range(3):
            if slicing == "split":
                part = emit(op.squeeze(emit(whole[i], f"part_{i}"), [0]), f"operand_{i}")
            elif slicing == "take":
                index = const(np.asarray(i, np.int64))
                part = emit(op.take(moved, index, axis=0), f"operand_{i}")
            else:
                piece = op.strided_slice(moved, [0], [i], [i + 1])
                part = emit(op.squeeze(emit(piece, f"part_{i}"), [0]), f"operand_{i}")
            parts.append(part)
        q, k, v = parts
        q = emit(op.multiply(q, relax.const(0.35, "float32")), "scaled")
        keys = emit(op.permute_dims(k, (0, 1, 3, 2)), "keys")
        return joined(emit, attend(emit, emit(op.matmul(q, keys), "scores"), v))

    mod = module(build, x=shape)
    lowered = lower_matmul(mod, HERE)
    assert operators(lowered) == ["call_tir mean"]
    (binding,) = main_bindings(lowered)
    assert [arg.name for arg in binding.value.args[1].fields] == ["x"]
    check(mod, uniform(np.random.default_rng(0), *shape))


@pytest.mark.parametrize("kept", [True, False])
def test_a_choice_by_a_mask(kept):
    def build(emit, q, k, v, mask):
        scores, low = scores_of(emit, q, k), relax.const(-1e9, "float32")
        chosen = op.where(mask, scores, low) if kept else op.where(mask, low, scores)
        return joined(emit, attend(emit, emit(chosen, "chosen"), heads(emit, v, "v")))

    rng = np.random.default_rng(0)
    arrays = operands(rng)
    mask = rng.random((37, 37)) < 0.5
    np.fill_diagonal(mask, kept)
    mod = module(build, **shapes(arrays), mask=tensor(mask.shape, "bool"))
    assert operators(lower_matmul(mod, HERE)) == ["call_tir mean"]
    check(mod, *arrays, mask)


def test_what_follows_attention_is_in_its_kernel():
    def build(emit, q, k, v):
        attended = attend(emit, scores_of(emit, q, k), heads(emit, v, "v"))
        return emit(op.nn.relu(joined(emit, attended)), "relu")

    arrays = operands(np.random.default_rng(0))
    mod = module(build, **shapes(arrays))
    assert len(lower(mod, HERE).tasks) == 1
    check(mod, *arrays)


def test_scores_that_something_else_reads_are_computed():
    def build(emit, q, k, v):
        scores = scores_of(emit, q, k)
        return [joined(emit, attend(emit, scores, heads(emit, v, "v"))), scores]

    arrays = operands(np.random.default_rng(0))
    mod = module(build, **shapes(arrays))
    assert operators(lower_matmul(mod, HERE)) == ["call_tir scores", "nn.softmax", "call_tir mean"]
    check(mod, *arrays)


def test_softmax_over_the_queries_is_no_attention():
    def build(emit, q, k, v):
        weights = emit(op.nn.softmax(scores_of(emit, q, k), axis=2), "weights")
        return emit(op.matmul(weights, heads(emit, v, "v")), "mean")

    arrays = operands(np.random.default_rng(0))
    mod = module(build, **shapes(arrays))
    assert "nn.softmax" in operators(lower_matmul(mod, HERE))
    check(mod, *arrays)


@pytest.mark.parametrize(("rows", "channels"), [(1, 24), (37, 9)], ids=["one row", "narrow heads"])
def test_attention_that_would_waste_the_vectors_is_two_products(rows, channels):
    def build(emit, q, k, v):
        return joined(emit, attend(emit, scores_of(emit, q, k), heads(emit, v, "v")))

    arrays = operands(np.random.default_rng(0), rows=rows, channels=channels)
    mod = module(build, **shapes(arrays))
    assert operators(lower_matmul(mod, HERE))[:3] == [
        "call_tir scores",
        "nn.softmax",
        "call_tir mean",
    ]
    check(mod, *arrays)


#: Name -> (left, right, the product of the two).
PRODUCTS = {
    "batch": ((2, 5, 7), (2, 7, 32)),
    "broadcast left": ((5, 7), (3, 2, 7, 32)),
    "broadcast right": ((3, 2, 5, 7), (2, 7, 32)),
    "broadcast both": ((3, 1, 5, 7), (1, 2, 7, 9)),
    "one row": ((2, 1, 7), (2, 7, 50)),
    "one column": ((2, 5, 7), (2, 7, 1)),
    "vector": ((2, 5, 7), (7,)),
    "depth 1": ((2, 5, 1), (2, 1, 16)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_product(name):
    left, right = PRODUCTS[name]
    rng = np.random.default_rng(0)

    def build(emit, a, b):
        return emit(op.nn.relu(emit(op.matmul(a, b), "product")), "relu")

    mod = module(build, a=left, b=right)
    check(mod, uniform(rng, *left), uniform(rng, *right))


def test_what_follows_a_product_is_in_its_kernel():
    def build(emit, a, b, c):
        scaled = emit(
            op.multiply(emit(op.matmul(a, b), "product"), relax.const(0.5, "float32")), "s"
        )
        return emit(op.nn.relu(emit(op.add(scaled, c), "shifted")), "relu")

    mod = module(build, a=(2, 5, 7), b=(2, 7, 45), c=(5, 45))
    assert len(lower(mod, HERE).tasks) == 1
    rng = np.random.default_rng(0)
    check(mod, uniform(rng, 2, 5, 7), uniform(rng, 2, 7, 45), uniform(rng, 5, 45))


@pytest.mark.parametrize(("columns", "folded"), [(32, True), (29, False)])
def test_joining_the_heads_is_folded_where_no_column_is_padded(columns, folded):
    def build(emit, a, b):
        return joined(emit, emit(op.matmul(a, b), "product"))

    mod = module(build, a=(2, 3, 5, 7), b=(2, 3, 7, columns))
    moves = [] if folded else ["permute_dims", "reshape"]
    assert operators(lower_matmul(mod, HERE)) == ["call_tir product", *moves]
    rng = np.random.default_rng(0)
    check(mod, uniform(rng, 2, 3, 5, 7), uniform(rng, 2, 3, 7, columns))


def test_a_constant_matrix_is_left_to_be_packed():
    weight = uniform(np.random.default_rng(0), 7, 9)
    mod = module(lambda emit, x: emit(op.matmul(x, const(weight)), "product"), x=(2, 5, 7))
    assert operators(lower_matmul(mod, HERE)) == ["matmul"]
    assert operators(lower_anchors(mod, HERE))[-1].startswith("call_tir")


def test_constants_elsewhere_are_operands():
    rng = np.random.default_rng(0)
    left, batched = uniform(rng, 4, 5), uniform(rng, 3, 9, 16)

    def build(emit, x):
        first = emit(op.matmul(const(left), x), "first")
        return emit(op.nn.relu(emit(op.matmul(first, const(batched)), "second")), "relu")

    mod = module(build, x=(3, 5, 9))
    assert operators(lower_matmul(mod, HERE)) == ["call_tir first", "call_tir second", "nn.relu"]
    check(mod, uniform(rng, 3, 5, 9))


@pytest.mark.parametrize("sizes", [(3, 1, 1, 2, 4), (3, 4, 5, 6, 7)])
def test_a_product_of_a_moved_product(sizes):
    """The moves between two products are read through by one of them, and never by both."""
    batch, rows, depth, middle, columns = sizes
    flat = relax.ShapeExpr([batch * rows, depth])

    def build(emit, x, left, right):
        first = emit(op.matmul(emit(op.reshape(x, flat), "flat"), left), "first")
        moved = emit(op.reshape(first, relax.ShapeExpr([batch, rows, middle])), "moved")
        again = emit(op.reshape(moved, relax.ShapeExpr([batch * rows, middle])), "again")
        return emit(op.matmul(again, right), "second")

    rng = np.random.default_rng(0)
    mod = module(build, x=(batch, rows, depth), left=(depth, middle), right=(middle, columns))
    arrays = [uniform(rng, batch, rows, depth), uniform(rng, depth, middle)]
    check(mod, *arrays, uniform(rng, middle, columns))


def test_short_integers_are_left_alone():
    integers = tensor((2, 5, 5), "int16")
    mod = module(lambda emit, a, b: emit(op.matmul(a, b), "product"), a=integers, b=integers)
    assert operators(lower_matmul(mod, HERE)) == ["matmul"]


@pytest.mark.parametrize("name", ["x86-64-v3", "arm", "rpi5", "riscv64"])
def test_other_targets_compile(name):
    def build(emit, q, k, v):
        return joined(emit, attend(emit, scores_of(emit, q, k), heads(emit, v, "v")))

    arrays = operands(np.random.default_rng(0))
    target = targets.load(name)
    lowered = lower(module(build, **shapes(arrays)), target)
    library = tvm.compile(lowered.mod, tvm.target.Target(target.tvm_target_dict()))
    assert library is not None
