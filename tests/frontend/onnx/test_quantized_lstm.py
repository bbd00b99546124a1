"""``tvmcomp.QuantizedLSTM`` in files that others wrote: with its function or without, and wrong."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import tvmcomp
from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN, QUANTIZED_LSTM, add_function

WIDTH, UNITS = 3, 5
ATTRIBUTES = {
    "x_scale": 0.02,
    "x_zero_point": -7,
    "w_scales": [0.01, 0.02, 0.01, 0.005],
    "r_scales": [0.01, 0.005, 0.01, 0.02],
    "y_scale": 0.008,
    "y_zero_point": 3,
    "h_scale": 0.008,
    "h_zero_point": 3,
    "cell_exponent": -11,
    "cell_clip": 10.0,
    "hidden_size": UNITS,
}


def model(function=True, operator=QUANTIZED_LSTM, left_out="", inputs=4, **changes):
    rng = np.random.default_rng(2)
    weights = [rng.integers(-127, 128, (4 * UNITS, n)).astype("int8") for n in (WIDTH, UNITS)]
    arrays = [*weights, rng.integers(-3000, 3000, 4 * UNITS).astype("int32")]
    constants = [numpy_helper.from_array(a, n) for a, n in zip(arrays, "WRB", strict=True)]
    attributes = {k: v for k, v in {**ATTRIBUTES, **changes}.items() if k != left_out}
    node = helper.make_node(
        operator, list("XWRB")[:inputs], ["Y"], "layer", domain=DOMAIN, **attributes
    )
    x, y = (
        helper.make_tensor_value_info(name, onnx.TensorProto.INT8, [4, 2, size])
        for name, size in (("X", WIDTH), ("Y", UNITS))
    )
    graph = helper.make_graph([node], "g", [x], [y], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    add_function(made)
    if not function:
        del made.functions[:]
    return made


def run(made):
    x = np.random.default_rng(3).integers(-128, 128, (4, 2, WIDTH)).astype("int8")
    with tvmcomp.load(tvmcomp.build(made)) as session:
        return session.run({"X": x})["Y"]


def test_the_function_is_no_part_of_what_it_means():
    whole, alone = run(model()), run(model(function=False))
    assert len(np.unique(whole)) > 10
    np.testing.assert_array_equal(whole, alone)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"left_out": "h_scale"}, "h_scale is left out"),
        ({"x_scale": 1}, "x_scale is left out, or of another type"),
        ({"w_scales": [0.1] * 3}, "w_scales are 3, and must be 4"),
        ({"inputs": 3}, "4 inputs"),
        ({"hidden_size": -4}, "must be a constant"),
        ({"hidden_size": 1 << 61}, "must be a constant"),
        ({"x_zero_point": 1 << 40}, "zero point of its input"),
        ({"h_zero_point": 128}, "zero points of its state"),
        ({"y_scale": float("inf")}, "not a positive number"),
        ({"y_scale": 1e-44}, "no fixed-point number"),
        ({"x_scale": 1e38}, "no fixed-point number"),
        ({"cell_exponent": 1 << 40}, "scale of its cell"),
        ({"cell_clip": float("nan")}, "limit of its cell"),
        ({"operator": "Other"}, "tvmcomp::Other"),
    ],
)
def test_a_wrong_one_is_refused(changes, reason):
    with pytest.raises(ModelError, match=re.escape(reason)):
        tvmcomp.build(model(function=False, **changes))
