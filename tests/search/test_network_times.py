"""The log of whole networks' times: found again by what they depend on, whatever a kill left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tvmcomp.search.network_times import NetworkTimes, network_digest
from tvmcomp.search.timing import Timed

TIMED = Timed(1000, 1.5, 2.0, None, "board", {"conv": 1.2})


def network(weight: float, size: int = 3) -> onnx.ModelProto:
    values = numpy_helper.from_array(np.full((4, size), weight, np.float32), "w")
    shape = numpy_helper.from_array(np.array([1, size], np.int64), "shape")
    return helper.make_model(
        helper.make_graph(
            [
                helper.make_node("MatMul", ["x", "w"], ["y"], "product"),
                helper.make_node("Reshape", ["y", "shape"], ["z"], "shaped"),
            ],
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
            [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, size])],
            [values, shape],
        )
    )


def test_networks_that_differ_in_weights_alone_share_a_time() -> None:
    assert network_digest(network(1.0)) == network_digest(network(2.0))
    assert network_digest(network(1.0)) != network_digest(network(1.0, size=5))
    assert network_digest(network(1.0)) != network_digest(network(1.0), "bf16")


def test_zeros_that_may_be_skipped_count() -> None:
    def pruned(*rows: int) -> onnx.ModelProto:
        model = network(1.0, size=32)
        values = numpy_helper.to_array(model.graph.initializer[0]).copy()
        values[list(rows)] = 0
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, "w"))
        return model

    digests = {network_digest(pruned(*rows)) for rows in ((), (0,), (1,), (0, 1))}
    assert len(digests) == 4


def test_times_are_found_on_the_same_device_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "times.jsonl"
    NetworkTimes("rpi4", "board:1", path).keep("a" * 16, TIMED)
    assert NetworkTimes("rpi4", "board:1", path).known("a" * 16) == TIMED
    for target, device in (("rpi4", "board:2"), ("rpi4", None), ("rpi5", "board:1")):
        assert NetworkTimes(target, device, path).known("a" * 16) is None


def test_a_torn_or_damaged_line_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "times.jsonl"
    NetworkTimes("rpi4", None, path).keep("a" * 16, TIMED)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"network": 3}\n\xff\n' + whole[:40])
    NetworkTimes("rpi4", None, path).keep("b" * 16, TIMED)
    again = NetworkTimes("rpi4", None, path)
    assert again.known("a" * 16) == again.known("b" * 16) == TIMED
