"""Outputs of chosen rows are judged by what they are chosen from, all others by themselves."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import tvmcomp
from tvmcomp.frontend import load_model
from tvmcomp.passes.pipeline import canonical
from tvmcomp.quantize.judged_outputs import with_judged_outputs
from tvmcomp.quantize.plan import plan_operators

node, info = helper.make_node, helper.make_tensor_value_info
RNG = np.random.default_rng(0)
#: Of a map of 8 x 8: four numbers of a box and three scores each.
PLACES = 64
STEM = [
    node("Conv", ["x", "stem"], ["a"], "stem", pads=[1, 1, 1, 1], strides=[2, 2]),
    node("Relu", ["a"], ["features"], "relu"),
    node("Conv", ["features", "boxes_w"], ["b"], "boxes"),
    node("Reshape", ["b", "box_shape"], ["b2"], "box_rows"),
    node("Transpose", ["b2"], ["offsets"], "box_turn", perm=[0, 2, 1]),
    node("Add", ["offsets", "anchors"], ["boxes"], "anchored"),
    node("Conv", ["features", "scores_w"], ["s"], "scores"),
    node("Reshape", ["s", "score_shape"], ["s2"], "score_rows"),
    node("Sigmoid", ["s2"], ["scores"], "sigmoid"),
]
SUPPRESSED = [
    node("NonMaxSuppression", ["boxes", "scores", "ten", "overlap", "least"], ["places"], "nms"),
    node("Slice", ["places", "two", "three", "one"], ["places2"], "slice"),
    node("Squeeze", ["places2", "one"], ["rows"], "squeeze"),
    node("Squeeze", ["boxes", "zero"], ["all_boxes"], "unbatched"),
    node("Gather", ["all_boxes", "rows"], ["found"], "gather", axis=0),
]
#: What takes the place of the rows, by its shape: scores, boxes, and boxes as they are gathered.
CHOSEN_FROM = {(1, 3, PLACES), (1, PLACES, 4), (PLACES, 4)}


def weights():
    side = np.arange(8) * 4.0 + 2
    centres = np.stack(np.meshgrid(side, side, indexing="ij"), -1).reshape(1, PLACES, 2)
    anchors = np.concatenate([centres - 6, centres + 6], -1)
    floats = {
        "stem": RNG.normal(size=(24, 3, 3, 3)) / 4,
        "boxes_w": RNG.normal(size=(4, 24, 1, 1)) / 4,
        "scores_w": RNG.normal(size=(3, 24, 1, 1)) / 4,
        "head": RNG.normal(size=(4, 40)),
        "anchors": anchors,
        "overlap": [0.4],
        "least": [0.6],
    }
    ints = {"box_shape": [1, 4, PLACES], "score_shape": [1, 3, PLACES], "ten": [10], "zero": [0],
            "one": [1], "two": [2], "three": [3], "five": [5]}  # fmt: skip
    arrays = {name: np.asarray(array, "float32") for name, array in floats.items()}
    return arrays | {name: np.asarray(array) for name, array in ints.items()}


def network(nodes, *outputs):
    kinds = {"best": TensorProto.INT64}
    used = {name for each in nodes for name in each.input}
    graph = helper.make_graph(
        nodes, "detector", [info("x", TensorProto.FLOAT, (1, 3, 16, 16))],
        [info(name, kinds.get(name, TensorProto.FLOAT), None) for name in outputs],
        [numpy_helper.from_array(a, name) for name, a in weights().items() if name in used],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def judged(model):
    """The shapes of the outputs that are judged, and whether they are others."""
    mod = canonical(load_model(model).mod)
    changed = with_judged_outputs(mod, plan_operators(mod))
    fields = changed["main"].ret_ty.fields
    return {tuple(int(size) for size in field.shape) for field in fields}, changed is not mod


def test_boxes_and_scores_before_suppression():
    shapes, are_others = judged(network(STEM + SUPPRESSED, "found"))
    assert are_others and shapes == CHOSEN_FROM


def test_what_is_not_chosen_stays():
    pooled = [node("GlobalAveragePool", ["features"], ["mean"], "pool")]
    shapes, are_others = judged(network(STEM + SUPPRESSED + pooled, "mean", "found"))
    assert are_others and shapes == {(1, 24, 1, 1), *CHOSEN_FROM}


@pytest.mark.parametrize(
    "chosen",
    [[node("TopK", ["scores", "five"], ["top", "best"], "top")],
     [node("ArgMax", ["scores"], ["best"], "first", axis=1)]],
    ids=["TopK", "ArgMax"],
)  # fmt: skip
def test_scores_before_the_best_of_them(chosen):
    outputs = [name for name in chosen[0].output if name]
    shapes, are_others = judged(network(STEM + chosen, *outputs, "boxes"))
    assert are_others and shapes == {(1, 3, PLACES), (1, PLACES, 4)}


def test_numbers_alone_stay():
    mod = canonical(load_model(network(STEM, "boxes", "scores")).mod)
    assert with_judged_outputs(mod, plan_operators(mod)) is mod


def test_products_of_chosen_rows_are_judged_by_their_rows():
    head = [node("MatMul", ["found", "head"], ["y"], "head")]
    mod = canonical(load_model(network(STEM + SUPPRESSED + head, "y")).mod)
    assert with_judged_outputs(mod, plan_operators(mod)) is mod


def test_a_detector_runs_in_integers():
    """Judged by its rows all but one of its convolutions stayed float."""
    model = network(STEM + SUPPRESSED, "found")
    samples = [{"x": RNG.normal(size=(1, 3, 16, 16)).astype("float32")} for _ in range(24)]
    artifact = tvmcomp.build(model, quant="int8", calibration=samples, log="none", reference=False)
    operators = [op for op in artifact.metadata.operators if op.kind == "nn.conv2d"]
    assert [op.dtype for op in operators] == ["int8"] * 3
    assert artifact.metadata.calibration["sqnr_db"] > 25
    assert any("chosen from" in note for note in artifact.metadata.notes)
