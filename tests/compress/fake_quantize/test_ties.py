"""Tensors around products that share a weight: which are alike, and that they have one scale."""

from __future__ import annotations

import numpy as np
import pytest
from precise_onnxruntime import plain_onnxruntime
from rounded_networks import node, normal, prepared, samples_of

torch = pytest.importorskip("torch")

from tvmcomp.compress.fake_quantize import FakeQuantizeOptions, quantize_model  # noqa: E402
from tvmcomp.compress.fake_quantize.finish import finish  # noqa: E402
from tvmcomp.compress.fake_quantize.plan import plan_model  # noqa: E402
from tvmcomp.compress.fake_quantize.ties import alike, with_one_range  # noqa: E402
from tvmcomp.compress.samples import divide  # noqa: E402
from tvmcomp.progress import NoProgress  # noqa: E402
from tvmcomp.qparams import activation_qparams  # noqa: E402

STEPS = 4


def unrolled_cell(weights=("w",) * STEPS):
    """``h = tanh(x[t] u + h w)``, with another weight ``w`` at each step, or one at several."""
    nodes, state = (
        [node("Split", ["x"], [f"x{t}" for t in range(STEPS)], "split", num_outputs=STEPS)],
        "h",
    )
    for t, weight in enumerate(weights):
        nodes += [
            node("MatMul", [f"x{t}", "u"], [f"a{t}"], f"input{t}"),
            node("MatMul", [state, weight], [f"b{t}"], f"state{t}"),
            node("Transpose", [f"b{t}"], [f"c{t}"], f"turn{t}", perm=[1, 0]),
            node("Transpose", [f"c{t}"], [f"d{t}"], f"back{t}", perm=[1, 0]),
            node("Add", [f"a{t}", f"d{t}"], [f"s{t}"], f"sum{t}"),
            node("Tanh", [f"s{t}"], [f"h{t}"], f"tanh{t}"),
        ]
        state = f"h{t}"
    nodes.append(node("MatMul", [state, "v"], ["y"], "head"))
    constants = {"u": normal(3, 6, seed=1), "v": normal(6, 2, seed=2)}
    constants |= {name: normal(6, 6, seed=3, scale=0.4) for name in weights}
    return prepared(nodes, {"x": (STEPS, 3), "h": (1, 6)}, ["y"], constants)


def tied(model):
    return {frozenset(group) for group in alike(model, plan_model(model))}


def test_the_steps_of_an_unrolled_cell_are_alike():
    groups = tied(unrolled_cell())
    assert frozenset(["h", "h0", "h1", "h2"]) in groups
    assert frozenset(f"x{t}" for t in range(STEPS)) in groups
    # The last step's state is computed as the others are, and no product of "w" reads it.
    assert not any("h3" in group for group in groups)


def test_products_of_other_weights_are_not():
    weights = ("w", "w", "w2", "w3")
    groups = tied(unrolled_cell(weights))
    assert frozenset(["h", "h0"]) in groups
    assert not any(len(group & {"h1", "h2", "h3"}) > 1 for group in groups)


def test_no_weight_that_is_shared_ties_nothing():
    nodes = [node("Conv", ["x", w], [y], w) for w, y in (("w", "a"), ("v", "b"))]
    nodes.append(node("Concat", ["a", "b"], ["y"], "join", axis=1))
    weights = {"w": normal(2, 2, 1, 1), "v": normal(2, 2, 1, 1, seed=1)}
    assert not tied(prepared(nodes, {"x": (1, 2, 4, 4)}, ["y"], weights))


def test_a_range_holds_all_but_those_much_narrower():
    widths = {"a": (-1.0, 1.0), "b": (0.0, 1.9), "c": (-0.01, 0.01), "d": (-0.012, 0.0)}
    ranges = {name: activation_qparams(*ends, "uint8") for name, ends in widths.items()}
    found, first = with_one_range(ranges, [("a", "b", "c", "d")])
    assert first == {"a": "a", "b": "a", "c": "c", "d": "c"}
    low, high = -1.0, 1.9
    assert found["a"] == found["b"]
    assert float(found["a"].scale) == pytest.approx((high - low) / 255, rel=0.01)
    assert float(found["c"].scale) == pytest.approx(0.022 / 255, rel=0.05)


def test_a_scale_is_learned_and_written_once():
    model = unrolled_cell()
    parts = divide(samples_of(model, 12), 0)
    quantized = quantize_model(model, parts, FakeQuantizeOptions(), NoProgress())
    states = [
        each.input
        for each in quantized.model.graph.node
        if each.op_type == "FakeQuantize" and each.input[0] in ("h0", "h1", "h2")
    ]
    assert len(states) == STEPS - 1
    assert len({tuple(inputs[1:]) for inputs in states}) == 1
    written = finish(quantized.model)
    scales = {n.input[1] for n in written.graph.node if n.op_type == "QuantizeLinear"}
    assert len(scales) < len(plan_model(model).activations)


def test_tied_scales_still_compute_the_network():
    model = unrolled_cell()
    parts = divide(samples_of(model, 40), 0)
    quantized = quantize_model(model, parts, FakeQuantizeOptions(), NoProgress())
    both = [plain_onnxruntime(m.SerializeToString()) for m in (model, finish(quantized.model))]
    wanted, got = (np.array([s.run(None, x)[0] for x in parts.judge]) for s in both)
    assert np.square(got - wanted).mean() < 0.02 * wanted.var()
