"""The plan of fake quantization, rule by rule, and that it is the plan of calibration."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from onnx import TensorProto
from rounded_networks import RandomNetwork, node, normal, prepared

torch = pytest.importorskip("torch")

from tvmcomp import targets  # noqa: E402
from tvmcomp.compress.fake_quantize.finish import finish  # noqa: E402
from tvmcomp.compress.fake_quantize.fold import fold_affine  # noqa: E402
from tvmcomp.compress.fake_quantize.insert import insert  # noqa: E402
from tvmcomp.compress.fake_quantize.plan import plan_model  # noqa: E402
from tvmcomp.frontend.binding import Binding  # noqa: E402
from tvmcomp.frontend.onnx.load import load_proto  # noqa: E402
from tvmcomp.passes.integers.imported_qdq import quantize_in_layout  # noqa: E402
from tvmcomp.passes.integers.realize import realize  # noqa: E402
from tvmcomp.passes.pipeline import canonical  # noqa: E402
from tvmcomp.passes.rewriter import dtype_of, main_bindings, op_name  # noqa: E402
from tvmcomp.qparams import activation_qparams  # noqa: E402
from tvmcomp.quantize.annotate import annotate  # noqa: E402
from tvmcomp.quantize.plan import plan_operators  # noqa: E402

IMAGE = (1, 4, 8, 8)


def conv(x, y, name, weight="w", **attributes):
    return node("Conv", [x, weight], [y], name, pads=[1, 1, 1, 1], **attributes)


def planned(nodes, outputs, weights=(), inputs=None, keep_float=(), **kinds):
    given = {"w": normal(4, 4, 3, 3), **dict(weights)}
    read = {name for each in nodes for name in each.input}
    constants = {name: array for name, array in given.items() if name in read}
    model = prepared(nodes, inputs or {"x": IMAGE}, outputs, constants, **kinds)
    return plan_model(model, keep_float)


def reads(plan):
    return {tensor: set(readers) for tensor, readers in plan.activations.items()}


@pytest.mark.parametrize(
    ("kind", "weight", "attributes", "data", "axis"),
    [
        ("Conv", (6, 2, 3, 3), {"group": 2}, IMAGE, 0),
        ("Conv", (6, 4, 3), {}, (1, 4, 9), 0),
        ("ConvTranspose", (4, 3, 2, 2), {"group": 2}, IMAGE, 1),
        ("Gemm", (5, 4), {"transB": 1}, (2, 4), 0),
        ("Gemm", (4, 5), {}, (2, 4), 1),
        ("MatMul", (4, 5), {}, (1, 3, 4), 1),
    ],
)
def test_rule_1_an_anchor_reads_rounded_data_and_has_a_scale_an_output(
    kind, weight, attributes, data, axis
):
    nodes = [node(kind, ["x", "a"], ["y"], "anchor", **attributes)]
    plan = planned(nodes, ["y"], {"a": normal(*weight)}, {"x": data})
    assert reads(plan) == {"x": {"anchor"}}
    (found,) = plan.weights
    assert (found.tensor, found.axis, found.scales) == ("a", axis, weight[axis])


@pytest.mark.parametrize(
    ("nodes", "weights", "data"),
    [
        ([node("MatMul", ["x", "a"], ["y"], "n")], {"a": normal(2, 4, 5)}, (2, 3, 4)),
        ([node("MatMul", ["x", "x"], ["y"], "n")], {}, (3, 3)),
        ([node("MatMul", ["x", "a"], ["y"], "n")], {"a": normal(4, 5)}, (4,)),
        ([node("Gemm", ["x", "a"], ["y"], "n", transA=1)], {"a": normal(4, 5)}, (4, 3)),
        ([node("MatMul", ["x", "a"], ["y"], "n")], {"a": np.full((4, 5), np.nan, "f4")}, (3, 4)),
    ],
)
def test_rule_1_no_other_product_is_an_anchor(nodes, weights, data):
    plan = planned(nodes, ["y"], weights, {"x": data})
    assert not plan.weights and not plan.activations
    assert plan.operators[0].reason == "its weight is no constant matrix of finite numbers"


def test_rule_2_what_no_integer_operator_reads_stays_float():
    nodes = [conv("x", "c", "conv"), node("MaxPool", ["c"], ["y"], "pool", kernel_shape=[2, 2])]
    plan = planned(nodes, ["y"])
    assert reads(plan) == {"x": {"conv"}}
    assert plan.operators[1].reason == "no integer operator reads its result"


def test_rule_3_a_residual_is_rounded_and_what_is_in_registers_is_not():
    nodes = [
        conv("x", "a", "first"),
        node("Relu", ["a"], ["r"], "relu"),
        conv("r", "b", "second"),
        node("Add", ["b", "r"], ["s"], "sum"),
        conv("s", "y", "last"),
    ]
    plan = planned(nodes, ["y"])
    assert reads(plan) == {"x": {"first"}, "r": {"second", "sum"}, "s": {"last"}}


def test_rule_4_a_chain_on_rounded_data_is_a_table():
    nodes = [
        conv("x", "a", "first"),
        node("MaxPool", ["a"], ["p"], "pool", kernel_shape=[2, 2]),
        node("Sigmoid", ["p"], ["s"], "sigmoid"),
        node("Mul", ["p", "s"], ["t"], "silu"),
        conv("t", "y", "last"),
    ]
    plan = planned(nodes, ["y"])
    assert reads(plan) == {"x": {"first"}, "p": {"sigmoid", "silu"}, "t": {"last"}}


def test_rule_4_a_cheap_chain_behind_an_anchor_is_none():
    nodes = [
        conv("x", "a", "first"),
        node("HardSwish", ["a"], ["t"], "swish"),
        conv("t", "y", "last"),
    ]
    assert reads(planned(nodes, ["y"])) == {"x": {"first"}, "t": {"last"}}


def test_rule_5_what_moves_data_takes_it_as_it_is():
    nodes = [
        conv("x", "a", "first"),
        node("Concat", ["a", "a"], ["j"], "join", axis=1),
        node("Transpose", ["j"], ["t"], "turn", perm=[0, 1, 3, 2]),
        conv("t", "y", "last", weight="w8"),
    ]
    plan = planned(nodes, ["y"], {"w8": normal(4, 8, 3, 3)})
    assert reads(plan) == {"x": {"first"}, "t": {"last"}}
    assert all(operator.quantized for operator in plan.operators)


def lstm(**attributes):
    return [node("LSTM", ["x", "wi", "wr"], ["y"], "lstm", hidden_size=3, **attributes)]


def test_rule_6_a_recurrent_layer_has_a_scale_a_row_of_each_direction():
    weights = {"wi": normal(2, 12, 5), "wr": normal(2, 12, 3)}
    plan = planned(lstm(direction="bidirectional"), ["y"], weights, {"x": (4, 1, 5)})
    assert reads(plan) == {"x": {"lstm"}}
    assert [(w.tensor, w.stored_shape, w.scales) for w in plan.weights] == [
        ("wi", (24, 5), 24),
        ("wr", (24, 3), 24),
    ]


def test_rule_6_a_state_without_bounds_is_multiplied_in_float():
    weights = {"wi": normal(1, 12, 5), "wr": normal(1, 12, 3)}
    nodes = lstm(activations=["Sigmoid", "Relu", "Tanh"])
    plan = planned(nodes, ["y"], weights, {"x": (4, 1, 5)})
    assert [w.tensor for w in plan.weights] == ["wi"]


def test_rule_7_an_embedding_rounds_its_table_only():
    nodes = [node("Gather", ["table", "i"], ["y"], "embed")]
    given = {"table": normal(9, 32)}
    kinds = {"types": {"i": TensorProto.INT64}}
    plan = planned(nodes, ["y"], given, {"i": (1, 5)}, **kinds)
    assert [(w.tensor, w.axis) for w in plan.weights] == [("table", 0)]
    assert not plan.activations
    short = planned(nodes, ["y"], {"table": normal(9, 8)}, {"i": (1, 5)}, **kinds)
    assert not short.weights


def test_a_weight_of_two_operators_is_rounded_once():
    plan = planned([conv("x", "a", "first"), conv("a", "y", "last")], ["y"])
    assert [weight.tensor for weight in plan.weights] == ["w"]
    assert plan.multiplied == {"w": ("first", "last")}


def test_what_is_kept_in_float_reads_float():
    nodes = [conv("x", "a", "first"), conv("a", "y", "last", weight="w2")]
    plan = planned(nodes, ["y"], {"w2": normal(4, 4, 3, 3)}, keep_float=["last"])
    assert reads(plan) == {"x": {"first"}}
    assert plan.operators[1].reason == "kept in float as asked"


#: What is done in registers, or comes and goes with one scale more or less.
_INCIDENTAL = {"add", "clip", "dequantize", "multiply", "nn.pad", "nn.relu", "quantize", "reshape"}


def realized(mod):
    """The operators of a module in integers, by kind and type, and its lookup tables."""
    counts = Counter()
    for binding in main_bindings(realize(mod, targets.detect())):
        kind = op_name(binding.value)
        if kind is not None and kind not in _INCIDENTAL:
            counts[kind, dtype_of(binding.var)] += 1
    return counts, counts.pop(("call_tir", "uint8"), 0)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_written_out_has_the_integers_that_calibration_would_give(seed):
    model = RandomNetwork(seed).model
    ranges = {}

    class Ranges(dict):
        """A range of its own for each tensor."""

        def __missing__(self, tensor):
            width = 1 + 0.01 * len(ranges)
            ranges[len(ranges)] = self[tensor] = activation_qparams(-width, width, "uint8")
            return self[tensor]

    mod = canonical(load_proto(model, Binding()).mod)
    calibrated = annotate(mod, plan_operators(mod), Ranges())
    plan = plan_model(fold_affine(model))
    bits = {weight.tensor: 8 for weight in plan.weights}
    written = finish(insert(fold_affine(model), plan, Ranges(), bits))
    imported = quantize_in_layout(canonical(load_proto(written, Binding()).mod))
    (kinds, tables), (wanted, least) = realized(imported), realized(calibrated)
    assert kinds == wanted
    assert tables >= least
