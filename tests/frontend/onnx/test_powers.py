"""Powers by constants, against numpy in double precision."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tvmcomp
from tvmcomp.frontend.onnx.powers import power_by
from tvmcomp.tvm_import import tvm

relax = tvm.relax
#: Zero and infinity among them; below zero only what has no root.
DATA = np.array([0, 1e-20, 0.3, 1, 2, 7.5, 1e9, np.inf], np.float32)


@pytest.mark.parametrize("exponent", [0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.75, 3, 3.5, 4, 0.7])
def test_equals_numpy(exponent, tmp_path):
    whole = float(exponent).is_integer()
    data = np.concatenate([-DATA, DATA]) if whole else DATA
    graph = helper.make_graph(
        [helper.make_node("Pow", ["x", "exponent"], ["y"])],
        "power",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, data.shape)],
        [numpy_helper.from_array(np.float32(exponent), "exponent")],
    )
    path = tmp_path / "power.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    with tvmcomp.load(tvmcomp.build(path, log="none", reference=False)) as session:
        y = session.run({"x": data})["y"]
    with np.errstate(over="ignore"):
        expected = np.power(data.astype(np.float64), float(np.float32(exponent))).astype(np.float32)
    np.testing.assert_allclose(y, expected, rtol=3e-7)


@pytest.mark.parametrize(
    ("exponent", "floating"), [(0, True), (-1, True), (0.3, True), (5, True), (0.5, False)]
)
def test_others_stay_powers(exponent, floating):
    x = relax.Var("x", relax.TensorType((3,), "float32" if floating else "int32"))
    assert power_by(relax.BlockBuilder(), x, exponent, floating) is None
