"""The parts of an ONNX network's outputs, and that each counts by itself."""

from __future__ import annotations

import numpy as np
import pytest
from rounded_networks import node, normal, prepared

pytest.importorskip("torch")

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.fake_quantize.measure import Yardstick
from tvmcomp.compress.fake_quantize.onnx_outputs import parts_of_outputs


def detector(scores_off: float = 0.0):
    """Boxes in pixels beside scores between 0 and 1, transposed; and a second output."""
    nodes = [
        node("MatMul", ["x", "b.w"], ["boxes"], "b"),
        node("MatMul", ["x", "s.w"], ["logits"], "s"),
        node("Add", ["logits", "off"], ["moved"], "m"),
        node("Sigmoid", ["moved"], ["scores"], "p"),
        node("Concat", ["boxes", "scores"], ["joined"], "c", axis=-1),
        node("Transpose", ["joined"], ["y"], "t", perm=[0, 2, 1]),
        node("Relu", ["logits"], ["z"], "r"),
    ]
    weights = {
        "b.w": 300 * normal(6, 4),
        "s.w": normal(6, 3, seed=1),
        "off": np.full(3, scores_off, "f4"),
    }
    return prepared(nodes, {"x": (1, 5, 6)}, ["y", "z"], weights)


def test_what_a_concatenation_joins_are_parts():
    every = slice(None)
    boxes, scores = (every, slice(0, 4), every), (every, slice(4, 7), every)
    assert parts_of_outputs(detector()) == [[boxes, scores], [(every, every, every)]]


def test_noise_of_scores_counts_beside_boxes():
    rng = np.random.default_rng(0)
    samples = [{"x": rng.normal(size=(1, 5, 6)).astype("f4")} for _ in range(20)]
    yardstick = Yardstick(detector(), samples)
    assert yardstick.sqnr_db(BatchedNetwork(detector(), samples)) > 60
    other = BatchedNetwork(detector(scores_off=1.0), samples)
    assert yardstick.sqnr_db(other) < 10
    assert yardstick.noise(other) > 0.1
