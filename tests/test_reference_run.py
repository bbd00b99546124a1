"""What the operators that the guard keeps in float cost: measured, or by the model."""

from __future__ import annotations

import re

import numpy as np
import pytest
from onnx import helper, numpy_helper

import tvmcomp
from tvmcomp import reference_run
from tvmcomp.quantize.config import QuantConfig

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("most", [0, 1 << 20], ids=["modelled", "measured"])
def test_the_note_says_how_it_is_known(monkeypatch, most):
    monkeypatch.setattr(reference_run, "_MOST_KERNELS", most)
    samples = [{"x": RNG.standard_normal((4, 24)).astype(np.float32)} for _ in range(4)]
    config = QuantConfig(min_sqnr_db=50.0)
    artifact = tvmcomp.build(network(), quant="int8", calibration=samples, config=config)
    (note,) = [each for each in artifact.metadata.notes if each.startswith("keeping them in float")]
    assert ("by the model of native" if most == 0 else "measured on this machine") in note
    assert float(re.search(r"takes (?:about )?([\d.]+) times", note)[1]) > 0


def network():
    weights = [RNG.standard_normal((24, 24)).astype("f4") for _ in range(3)]
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"]),
        helper.make_node("MatMul", ["a", "w1"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, 1, [4, 24]) for name in "xy"]
    inits = [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], inits)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
