"""Cases of loops whose number of trips is known."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from operator_cases.draw import Draw, generates


def _value(name: str, kind: int = onnx.TensorProto.FLOAT, shape: object = None) -> object:
    return helper.make_tensor_value_info(name, kind, shape)


@generates("Loop")
def loop(draw: Draw) -> None:
    """``x = x * w + i`` with rows of it, to a trip count or by a counter's condition."""
    shape = draw.shape(0, 2)
    x, w = (
        draw.input(draw.array("float32", shape)),
        draw.tensor(draw.array("float32", shape, -1, 1)),
    )
    trips = draw.size(1, 4)
    counted, by_data = draw.chance(0.5), draw.chance(0.3)
    body = [
        helper.make_node("Cast", ["i"], ["number"], to=1),
        helper.make_node("Mul", ["x", w], ["scaled"]),
        helper.make_node("Add", ["scaled", "number"], ["y"]),
    ]
    if by_data:
        body += [
            helper.make_node("ReduceSum", ["y"], ["total"], keepdims=0),
            helper.make_node("Less", ["total", "limit"], ["going"]),
        ]
    elif counted:
        body.append(helper.make_node("Identity", ["c"], ["going"]))
    else:
        body.append(helper.make_node("Less", ["i", "last"], ["going"]))
    outputs = [_value("going", onnx.TensorProto.BOOL), _value("y")]
    if not by_data:
        body.append(helper.make_node("Identity", ["y"], ["row"]))
        outputs.append(_value("row"))
    held = [
        onnx.numpy_helper.from_array(np.float32(draw.size(-2, 9)), "limit"),
        onnx.numpy_helper.from_array(np.array(trips - 1), "last"),
    ]
    inputs = [_value("i", onnx.TensorProto.INT64, []), _value("c", onnx.TensorProto.BOOL, []),
              _value("x")]  # fmt: skip
    graph = helper.make_graph(body, "body", inputs, outputs, held)
    most = draw.constant(np.array(trips if counted or by_data else 9))
    condition = draw.constant(np.array(True)) if draw.chance(0.5) or not counted else ""
    draw.node([most, condition, x], len(outputs) - 1, body=graph)


@generates("Scan")
def scan(draw: Draw) -> None:
    """Running sums of slices, from either end."""
    rank = draw.size(1, 3)
    shape = [draw.size(1, 5) for _ in range(rank)]
    axis = draw.size(0, rank - 1)
    x = draw.input(draw.array("float32", shape))
    state = draw.tensor(draw.array("float32", [s for i, s in enumerate(shape) if i != axis]))
    inner = [None] * (rank - 1)
    body = helper.make_graph(
        [helper.make_node("Add", ["sum", "slice"], ["new"]),
         helper.make_node("Identity", ["new"], ["row"])],
        "body",
        [_value("sum", shape=inner), _value("slice", shape=inner)],
        [_value("new", shape=inner), _value("row", shape=inner)],
    )  # fmt: skip
    ways = draw.maybe(
        scan_input_directions=[draw.size(0, 1)],
        scan_output_directions=[draw.size(0, 1)],
        scan_output_axes=[draw.size(0, rank - 1)],
    )
    if axis:
        ways["scan_input_axes"] = [axis]
    draw.node([state, x], 2, body=body, num_scan_inputs=1, **ways)
