"""The rules of the plan, one test each (they are numbered in the module's docstring)."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, relax, tensor, uniform

from tvmcomp.passes.rewriter import const
from tvmcomp.quantize.config import OperatorConfig, QuantConfig
from tvmcomp.quantize.plan import plan_operators

RNG = np.random.default_rng(0)
KERNEL = uniform(RNG, 4, 3, 3, 4)
MATRIX = uniform(RNG, 4, 4)


def conv(emit, x, name):
    return emit(
        relax.op.nn.conv2d(x, const(KERNEL), padding=1, data_layout="NHWC", kernel_layout="OHWI"),
        name,
    )


def planned(build, config=None, keep_float=(), **inputs):
    """The plan by operator's name."""
    mod = module(build, **(inputs or {"x": (1, 5, 5, 4)}))
    return {op.name: op for op in plan_operators(mod, config, keep_float)}


def names(tensors):
    return [tensor.name for tensor in tensors]


def test_1_an_anchor_reads_its_data_in_integers():
    plan = planned(lambda emit, x: [conv(emit, x, "c")])
    assert plan["c"].quantized
    assert plan["c"].is_anchor
    assert names(plan["c"].reads) == ["x"]


@pytest.mark.parametrize(
    ("right", "reason"),
    [
        (None, "its right side is not a constant"),
        (np.ones((2, 4, 4), np.float32), "its weight is not a matrix"),
        (np.ones(4, np.float32), "its weight is not a matrix"),
        (np.full((4, 4), np.nan, np.float32), "its weight is not finite"),
    ],
)
def test_1_other_matrix_products_stay_float(right, reason):
    def build(emit, x):
        return [emit(relax.op.matmul(x, x if right is None else const(right)), "m")]

    operator = planned(build, x=(2, 4, 4))["m"]
    assert not operator.quantized
    assert operator.reason == reason


def test_2_an_addition_between_float_operators_stays_float():
    def build(emit, x):
        a, b = emit(relax.op.nn.softmax(x), "a"), emit(relax.op.nn.softmax(x, 1), "b")
        return [emit(relax.op.add(a, b), "s")]

    plan = planned(build)
    assert plan["s"].reason == "no integer operator reads its result"
    assert plan["a"].reason == "no integer form"


def test_3_what_the_anchors_kernel_computes_is_not_rounded_in_between():
    def build(emit, x):
        biased = emit(relax.op.add(conv(emit, x, "c1"), const(uniform(RNG, 4))), "b")
        return [conv(emit, emit(relax.op.nn.relu(biased), "r"), "c2")]

    plan = planned(build)
    assert [names(plan[name].reads) for name in ("c1", "b", "r", "c2")] == [["x"], [], [], ["r"]]


def test_3_nor_at_the_end_of_the_network():
    plan = planned(lambda emit, x: [emit(relax.op.nn.relu(conv(emit, x, "c")), "r")])
    assert plan["r"].reason == "in the registers of its anchor"


def test_3_of_a_residual_addition_only_what_comes_from_memory_is_rounded():
    def build(emit, x):
        first = emit(relax.op.nn.relu(conv(emit, x, "c1")), "r")
        second = conv(emit, first, "c2")
        return [conv(emit, emit(relax.op.add(second, first), "s"), "c3")]

    plan = planned(build)
    assert plan["s"].quantized
    assert names(plan["s"].reads) == ["r"]


def test_3_both_operands_are_rounded_where_other_operators_read_them_too():
    def build(emit, x):
        a, b = conv(emit, x, "a"), conv(emit, x, "b")
        return [a, b, conv(emit, emit(relax.op.add(a, b), "s"), "c")]

    assert names(planned(build)["s"].reads) == ["a", "b"]


def test_3_nor_is_batch_norm_and_activation_in_front_of_an_anchor():
    def build(emit, x):
        a = conv(emit, x, "a")
        pooled = emit(relax.op.nn.max_pool2d(a, layout="NHWC"), "pool")
        scaled = emit(relax.op.multiply(pooled, const(uniform(RNG, 4))), "scaled")
        shifted = emit(relax.op.add(scaled, const(uniform(RNG, 4))), "shifted")
        return [conv(emit, emit(relax.op.nn.relu(shifted), "r"), "c"), conv(emit, pooled, "d")]

    plan = planned(build)
    reads = [names(plan[name].reads) for name in ("scaled", "shifted", "r", "c", "d")]
    assert reads == [["pool"], [], [], ["r"], ["pool"]]


def test_3_arithmetic_that_several_read_is_rounded_for_all_of_them():
    def build(emit, x):
        pooled = emit(relax.op.nn.max_pool2d(conv(emit, x, "a"), layout="NHWC"), "pool")
        scaled = emit(relax.op.multiply(pooled, const(uniform(RNG, 4))), "scaled")
        shifted = emit(relax.op.add(scaled, const(uniform(RNG, 4))), "shifted")
        return [conv(emit, shifted, "c"), conv(emit, scaled, "d")]

    assert names(planned(build)["shifted"].reads) == ["scaled"]


def test_4_an_expensive_chain_becomes_one_table():
    def build(emit, x):
        c = conv(emit, x, "c1")
        wave = emit(relax.op.multiply(c, emit(relax.op.sin(c), "sine")), "wave")
        return [conv(emit, wave, "c2")]

    plan = planned(build)
    assert plan["wave"].quantized
    assert names(plan["wave"].reads) == ["c1"]
    assert set(names(plan["wave"].readers)) == {"sine", "wave"}
    assert plan["sine"].reads == ()


def test_4_a_cheap_chain_after_an_anchor_does_not():
    def build(emit, x):
        c = conv(emit, x, "c1")
        silu = emit(relax.op.multiply(c, emit(relax.op.sigmoid(c), "sigmoid")), "silu")
        relu6 = emit(relax.op.clip(conv(emit, silu, "c2"), 0, 6), "relu6")
        return [conv(emit, relu6, "c4")]

    plan = planned(build)
    for name in ("silu", "relu6"):
        assert plan[name].quantized
        assert plan[name].reads == ()


def test_5_what_moves_data_takes_it_as_it_is():
    def build(emit, x):
        pooled = emit(relax.op.nn.max_pool2d(conv(emit, x, "c1"), layout="NHWC"), "pool")
        both = emit(relax.op.concat([pooled, pooled], 1), "cat")
        return [conv(emit, both, "c2")]

    plan = planned(build)
    for name in ("pool", "cat"):
        assert plan[name].quantized
        assert plan[name].reads == ()
    assert names(plan["c2"].reads) == ["cat"]


def test_5_float_data_is_moved_in_float():
    def build(emit, x):
        soft = emit(relax.op.nn.softmax(x), "soft")
        return [conv(emit, emit(relax.op.reshape(soft, (1, 5, 5, 4)), "v"), "c")]

    assert planned(build)["v"].reason == "it moves float data"


def test_a_mean_is_summed_in_integers():
    def build(emit, x):
        pooled = emit(relax.op.mean(conv(emit, x, "c"), [1, 2]), "m")
        return [emit(relax.op.matmul(pooled, const(MATRIX)), "y")]

    plan = planned(build)
    assert names(plan["m"].reads) == ["c"]
    assert names(plan["y"].reads) == ["m"]


@pytest.mark.parametrize(
    "config",
    [
        QuantConfig(keep_float=("c1",)),
        QuantConfig(keep_float=("nn.conv*",)),
        QuantConfig(operators={"c1": OperatorConfig(dtype="float")}),
    ],
)
def test_the_configuration_keeps_operators_in_float(config):
    plan = planned(lambda emit, x: [conv(emit, x, "c1")], config)
    assert plan["c1"].reason == "kept in float as asked"
    assert plan["c1"].reads == ()


def test_the_guard_keeps_operators_in_float():
    def build(emit, x):
        return [conv(emit, conv(emit, x, "c1"), "c2")]

    plan = planned(build, keep_float={"c1"})
    assert plan["c1"].reason == "kept in float by the accuracy guard"
    assert names(plan["c2"].reads) == ["c1"]


def test_integers_of_the_network_itself_have_no_float_to_quantize():
    def build(emit, x):
        index = emit(relax.op.add(x, relax.const(1, "int64")), "i")
        return [emit(relax.op.take(const(MATRIX), index, 0), "t")]

    assert planned(build, x=tensor((3,), "int64"))["i"].reason == "it computes int64"


def test_control_flow_has_no_plan():
    flag, x = relax.Var("flag", tensor((), "bool")), relax.Var("x", tensor((2,), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [flag, x]):
        builder.emit_func_output(builder.emit(relax.If(flag, x, x)))
    assert plan_operators(builder.get()) == []
