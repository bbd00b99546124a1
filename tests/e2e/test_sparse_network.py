"""A pruned ONNX network through `build`: smaller, the same results, zeros kept in integers."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import tvmcomp
from tvmcomp.artifact.coded import coded

RNG = np.random.default_rng(0)
CHANNELS = 128


def pruned(share: float) -> onnx.ModelProto:
    """Two 1x1 convolutions with a residual; a ``share`` of blocks of 16x4 is zero."""
    constants, nodes, x = [], [], "x"
    for i in range(2):
        weight = RNG.normal(size=(CHANNELS, CHANNELS)) / np.sqrt(CHANNELS * (1 - share))
        kept = np.zeros(CHANNELS // 16 * CHANNELS // 4, bool)
        kept[: round(kept.size * (1 - share))] = True
        blocks = RNG.permutation(kept).reshape(CHANNELS // 16, CHANNELS // 4)
        weight = (weight * np.repeat(np.repeat(blocks, 16, 0), 4, 1)).astype("f")
        constants.append(numpy_helper.from_array(weight[..., None, None], f"w{i}"))
        constants.append(numpy_helper.from_array(RNG.normal(size=CHANNELS).astype("f"), f"b{i}"))
        nodes.append(helper.make_node("Conv", [x, f"w{i}", f"b{i}"], [f"c{i}"], f"conv{i}"))
        if i:
            nodes.append(helper.make_node("Add", [f"c{i}", x], [f"s{i}"], f"add{i}"))
        nodes.append(helper.make_node("Relu", [f"{'s' if i else 'c'}{i}"], [f"r{i}"], f"relu{i}"))
        x = f"r{i}"
    shape = [1, CHANNELS, 14, 14]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("x", x)]
    graph = helper.make_graph(nodes, "pruned", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model


def sample() -> dict[str, np.ndarray]:
    return {"x": RNG.normal(size=(1, CHANNELS, 14, 14)).astype("f")}


@pytest.mark.parametrize("quant", [None, "int8"])
def test_a_pruned_network_is_smaller_and_right(quant):
    sparse, dense = pruned(0.8), pruned(0.0)
    samples = [sample() for _ in range(8)]
    built = [
        tvmcomp.build(model, "rpi5", quant, samples if quant else None, reference=False)
        for model in (sparse, dense)
    ]
    sizes = [artifact.small().constants_nbytes_in_file for artifact in built]
    assert sizes[0] < 0.5 * sizes[1]
    notes = [note for note in built[0].metadata.notes if "is sparse" in note]
    assert len(notes) == 2 and all("80% of its" in note and "rpi5" in note for note in notes)
    assert not any("blocks are zero" in note for note in built[1].metadata.notes)


def test_results_here_are_those_of_onnx_runtime():
    model, given = pruned(0.8), sample()
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, given)
    with tvmcomp.load(tvmcomp.build(model, reference=False)) as session:
        (actual,) = session.run(given).values()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_single_zeros_are_coded_away(dtype):
    """What no sparse kernel computes (a 3x3 window) takes less of the file all the same."""
    weight = RNG.normal(size=(64, 3, 3, 64)) * (RNG.random((64, 3, 3, 64)) < 0.2)
    array = (weight * 40).clip(-127, 127).astype(dtype)
    assert len(coded([array]).data) < 0.5 * array.nbytes
