"""What units are expected to take at widths that were not measured."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from networks import NetworkWriter

from tvmcomp import targets
from tvmcomp.compress.channels.groups import find_groups
from tvmcomp.compress.cost import Compute, OperatorTimes
from tvmcomp.compress.original import read_original
from tvmcomp.search.costs import Costs
from tvmcomp.search.operator_times import identifier
from tvmcomp.search.timing import Timed

LANES = 16


def depthwise(path: Path, channels: int) -> onnx.ModelProto:
    """Convolutions of one width: 1x1, depthwise, 1x1."""
    net = NetworkWriter()
    wide = net.op("Relu", net.conv("x", (channels, 3), (1, 1)))
    each = net.op("Relu", net.conv(wide, (channels, 1), (3, 3), group=channels, pads=[1] * 4))
    net.op("Relu", net.conv(each, (8, channels), (1, 1)), name="y")
    return read_original(net.save(path, {"x": (1, 3, 112, 112)}, ["y"])).prepared


def took(channels: int) -> float:
    """ms of a kernel over so many channels: one that ends inside a vector takes twice as long."""
    return 0.01 * math.ceil(channels / LANES) * (1 if channels % LANES == 0 else 2)


def timed(model: onnx.ModelProto, compute: Compute) -> Timed:
    shapes = {each.name: each.dims for each in model.graph.initializer}
    operators = {}
    for node in model.graph.node:
        if node.op_type == "Conv":
            group = next((a.i for a in node.attribute if a.name == "group"), 1)
            out, inside = shapes[node.input[1]][:2]
            operators[identifier(node.name)] = took(inside if out == 8 else max(out, group))
    return Timed(1, sum(operators.values()), 1.0, None, compute, operators)


@pytest.mark.parametrize("channels", [24, 40, 48, 64, 72, 96, 100])
def test_widths_of_whole_vectors_take_what_they_take(tmp_path: Path, channels: int) -> None:
    model = depthwise(tmp_path / "net.onnx", channels)
    groups = find_groups(model)
    times = OperatorTimes("x86-64-v4")
    assert targets.load("x86-64-v4").vector_bits == 32 * LANES
    whole = {compute: timed(model, compute) for compute in ("float", "int8")}
    costs = Costs(groups, times, whole, timed)  # type: ignore[arg-type]
    unit = 1  # the depthwise convolution
    (group,) = costs.network.units[unit].groups
    for left in range(LANES, channels, LANES):
        found = 1e3 * costs.seconds(unit, "float", {group: costs.network.share(group, left)})
        assert found == pytest.approx(took(left), rel=0.3), left
    assert np.isclose(1e3 * costs.seconds(unit, "float", costs.network.all()), took(channels))
