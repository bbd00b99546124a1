"""The sub-pixel form of a transposed convolution, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.helper
import onnxruntime
import pytest

from tvmcomp.frontend import load_model
from tvmcomp.passes.canonical.channels_last import channels_last
from tvmcomp.passes.rewriter import main_bindings, op_name
from tvmcomp.tvm_import import tvm

CASES = [
    # spatial, kernel, strides, pads, output_padding
    ((5, 6), (2, 2), (2, 2), (0, 0, 0, 0), (0, 0)),
    ((5, 6), (4, 4), (2, 2), (1, 1, 1, 1), (0, 0)),
    ((5, 6), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    ((5, 6), (3, 5), (1, 3), (2, 0, 1, 4), (0, 0)),
    ((4, 4), (2, 2), (3, 3), (0, 0, 0, 0), (0, 0)),
    ((4, 4), (5, 5), (2, 2), (4, 3, 4, 3), (0, 0)),
    ((6, 6), (3, 3), (2, 2), (5, 0, 3, 0), (0, 1)),
    ((7,), (4,), (2,), (1, 1), (0,)),
    ((7,), (3,), (4,), (0, 0), (2,)),
]


@pytest.mark.parametrize(("spatial", "kernel", "strides", "pads", "extra"), CASES)
def test_equals_the_transposed_convolution(
    tmp_path: Path,
    spatial: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    extra: tuple[int, ...],
) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3, 4, *kernel)).astype(np.float32)
    x = rng.normal(size=(2, 3, *spatial)).astype(np.float32)
    node = onnx.helper.make_node(
        "ConvTranspose", ["x", "w"], ["y"], strides=strides, pads=pads, output_padding=extra
    )
    graph = onnx.helper.make_graph(
        [node],
        "net",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    wanted = onnxruntime.InferenceSession(path).run(None, {"x": x})[0]

    mod = channels_last(load_model(path, {}).mod)
    kinds = [op_name(binding.value) for binding in main_bindings(mod) or []]
    assert f"nn.conv{len(spatial)}d" in kinds
    assert not any("transpose" in (kind or "") for kind in kinds)
    executable = tvm.compile(mod, tvm.target.Target({"kind": "llvm", "num-cores": 1}))
    machine = tvm.relax.VirtualMachine(executable, tvm.cpu())
    got = machine["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-5)
