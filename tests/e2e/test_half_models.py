"""Models in float16, bfloat16 and float64: their types at the borders, float32's sums inside."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from e2e.networks import NetworkWriter, onnxruntime_outputs
from onnx import TensorProto, helper

import tvmcomp

_TYPE = {
    np.float16: TensorProto.FLOAT16,
    np.float32: TensorProto.FLOAT,
    np.float64: TensorProto.DOUBLE,
    ml_dtypes.bfloat16: TensorProto.BFLOAT16,
}


def _random(dtype, *shape, scale=1.0, seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(dtype)


def _operators(net: NetworkWriter, dtype) -> list[str]:
    """Everything that sums up, moves, chooses or casts; x is (2, 16, 32, 32)."""

    def number(value):
        return net.constant(np.asarray(value, dtype))

    vector, ones = net.constant(_random(dtype, 16, seed=1)), net.constant(np.ones(16, dtype))
    row = net.op("Reshape", "x", net.constant(np.array([2, 16, 1024])))
    outputs = [
        net.op("Conv", "x", net.constant(_random(dtype, 8, 16, 3, 3, scale=0.1)), pads=[1] * 4),
        net.op("Conv", "x", net.constant(_random(dtype, 16, 1, 3, 3)), group=16),
        net.op("ConvTranspose", "x", net.constant(_random(dtype, 16, 4, 2, 2)), strides=[2, 2]),
        net.op("MatMul", row, net.constant(_random(dtype, 1024, 24))),
        net.op("MatMul", row, net.op("Transpose", row, perm=[0, 2, 1])),
        net.op("GlobalAveragePool", "x"),
        net.op("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        net.op("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2]),
        net.op("InstanceNormalization", "x", ones, vector),
        net.op("LayerNormalization", row, net.constant(np.ones(1024, dtype)), axis=-1),
        net.op("Softmax", row, axis=-1),
        net.op("LogSoftmax", row, axis=-1),
        net.op("CumSum", net.op("Abs", row), net.constant(np.array(2))),
        net.op("Resize", "x", "", net.constant(np.array([1, 1, 2, 2], "f")), mode="linear"),
        net.op("Clip", "x", number(-0.5), number(0.5)),
        net.op("Pad", "x", net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])), number(0.25)),
        net.op("Where", net.op("Greater", "x", number(0)), "x", number(-1)),
        net.op("Gather", net.constant(_random(dtype, 50, 8)), net.constant(np.array([3, 7]))),
        net.op("Cast", net.op("Cast", "x", to=TensorProto.FLOAT), to=_TYPE[dtype]),
        net.op("Gelu", "x"),
    ]
    for name in ("ReduceMean", "ReduceSum", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"):
        axes = net.constant(np.array([2, 3]))
        outputs.append(net.op(name, "x", axes))
    return outputs


def test_float16_sums_in_float32(tmp_path):
    net = NetworkWriter()
    outputs = _operators(net, np.float16)
    types = dict.fromkeys(["x", *outputs], TensorProto.FLOAT16)
    path = net.save(tmp_path / "n.onnx", {"x": (2, 16, 32, 32)}, outputs, 20, types)
    # Sums of 1,024 squares of these pass float16's largest number, or all its digits.
    feeds = {"x": (_random("f", 2, 16, 32, 32) + np.arange(16).reshape(16, 1, 1)).astype("float16")}
    artifact = tvmcomp.build(path)
    with tvmcomp.load(artifact, threads=1) as session:
        given = session.run(feeds)
    for name, wanted in onnxruntime_outputs(path, feeds).items():
        assert given[name].dtype == np.float16, name
        both = given[name].astype("d"), wanted.astype("d")
        np.testing.assert_allclose(*both, rtol=4e-3, atol=2e-2, err_msg=name)


def test_the_weights_of_a_float16_model_take_two_bytes(tmp_path):
    sizes = {}
    for dtype in (np.float16, np.float32):
        net = NetworkWriter()
        rows = net.op("Gather", net.constant(_random(dtype, 1000, 64)), "x")
        net.op("MatMul", rows, net.constant(_random(dtype, 64, 512)), name="y")
        path = net.save(
            tmp_path / "n.onnx",
            {"x": (4,)},
            ["y"],
            types={"x": TensorProto.INT64, "y": _TYPE[dtype]},
        )
        artifact = tvmcomp.build(path, reference=False)
        sizes[dtype] = artifact.constants_nbytes
    assert sizes[np.float16] * 2 == sizes[np.float32]


def _two_convolutions(path, dtype):
    net = NetworkWriter()
    x = net.op("Conv", "x", net.constant(_random(dtype, 16, 3, 3, 3, scale=0.3)), pads=[1] * 4)
    weight = net.constant(_random(dtype, 8, 16, 1, 1, scale=0.3, seed=2))
    net.op("Conv", net.op("Relu", x), weight, name="y")
    types = dict.fromkeys("xy", _TYPE[dtype])
    return net.save(path, {"x": (1, 3, 16, 16)}, ["y"], types=types)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_int8_of_a_model_in_another_float(dtype, tmp_path):
    path = _two_convolutions(tmp_path / "n.onnx", dtype)
    samples = [{"x": _random(dtype, 1, 3, 16, 16, seed=n)} for n in range(4)]
    artifact = tvmcomp.build(path, quant="int8", calibration=samples)
    convolutions = [op.dtype for op in artifact.metadata.operators if op.kind == "nn.conv2d"]
    assert convolutions == ["int8", "int8"]
    with tvmcomp.load(artifact, threads=1) as session:
        given = session.run(samples[0])["y"]
    # ONNX Runtime has no convolution in float64.
    reference = _two_convolutions(tmp_path / "reference.onnx", np.float32)
    wanted = onnxruntime_outputs(reference, {"x": samples[0]["x"].astype("f")})["y"]
    assert given.dtype == dtype
    assert np.abs(given - wanted).max() < 0.05 * np.ptp(wanted)


def test_float64_stays_float64(tmp_path):
    net = NetworkWriter()
    net.op("MatMul", "x", net.constant(_random(np.float64, 64, 64)), name="y")
    types = dict.fromkeys("xy", TensorProto.DOUBLE)
    path = net.save(tmp_path / "n.onnx", {"x": (4, 64)}, ["y"], types=types)
    feeds = {"x": _random(np.float64, 4, 64, seed=3)}
    with tvmcomp.load(tvmcomp.build(path), threads=1) as session:
        given = session.run(feeds)["y"]
    np.testing.assert_allclose(given, onnxruntime_outputs(path, feeds)["y"], rtol=1e-12)


def test_quantize_and_dequantize_with_float16_scales(tmp_path):
    net = NetworkWriter()
    scale, zero = net.constant(np.array(0.05, np.float16)), net.constant(np.int8(3))
    weight = net.constant(np.random.default_rng(0).integers(-99, 99, (8, 3, 3, 3)).astype("int8"))
    small = net.constant(np.array(0.01, np.float16))
    real = net.op("DequantizeLinear", net.op("QuantizeLinear", "x", scale, zero), scale, zero)
    kernel = net.op("DequantizeLinear", weight, small)
    conv = net.op("Conv", real, kernel)
    quantized = net.op("QuantizeLinear", conv, scale, zero)
    net.op("DequantizeLinear", quantized, scale, zero, name="y")
    types = dict.fromkeys("xy", TensorProto.FLOAT16)
    path = net.save(tmp_path / "n.onnx", {"x": (1, 3, 8, 8)}, ["y"], 19, types)
    feeds = {"x": _random(np.float16, 1, 3, 8, 8)}
    with tvmcomp.load(tvmcomp.build(path), threads=1) as session:
        given = session.run(feeds)["y"]
    assert given.dtype == np.float16
    wanted = onnxruntime_outputs(path, feeds)["y"]
    assert np.abs(given.astype("d") - wanted).max() <= 0.051  # one step


def test_bfloat16_sums_in_float32(tmp_path):
    net = NetworkWriter()
    dtype = ml_dtypes.bfloat16
    outputs = [
        net.op("GlobalAveragePool", "x"),
        net.op("Conv", "x", net.constant(_random(dtype, 8, 16, 1, 1))),
    ]
    types = dict.fromkeys(["x", *outputs], TensorProto.BFLOAT16)
    path = net.save(tmp_path / "n.onnx", {"x": (1, 16, 64, 64)}, outputs, 22, types)
    x = (_random("f", 1, 16, 64, 64) + 8).astype(dtype)
    with tvmcomp.load(tvmcomp.build(path), threads=1) as session:
        mean, product = (session.run({"x": x})[name] for name in outputs)
    wide = x.astype("d")
    assert mean.dtype == dtype
    np.testing.assert_allclose(mean.astype("d"), wide.mean((2, 3), keepdims=True), rtol=8e-3)
    weight = _random(dtype, 8, 16).astype("d")
    wanted = np.einsum("oc,ncyx->noyx", weight, wide)
    np.testing.assert_allclose(product.astype("d"), wanted, rtol=8e-3, atol=0.3)


def test_a_cast_to_16_bits_rounds_also_in_a_branch(tmp_path):
    def branch(name, factor):
        constant = onnx.numpy_helper.from_array(np.asarray(factor, np.float16), f"{name}_factor")
        nodes = [helper.make_node("Mul", ["half", f"{name}_factor"], [name])]
        output = helper.make_tensor_value_info(name, TensorProto.FLOAT16, None)
        return helper.make_graph(nodes, name, [], [output], [constant])

    net = NetworkWriter()
    net.op("Cast", "x", name="half", to=TensorProto.FLOAT16)
    chosen = net.op("If", "c", then_branch=branch("yes", 2), else_branch=branch("no", 4))
    net.op("Cast", chosen, name="y", to=TensorProto.FLOAT)
    types = {"c": TensorProto.BOOL}
    path = net.save(tmp_path / "n.onnx", {"x": (4, 5), "c": ()}, ["y"], types=types)
    x = _random("f", 4, 5)
    with tvmcomp.load(tvmcomp.build(path), threads=1) as session:
        given = session.run({"x": x, "c": np.array(False)})["y"]
    np.testing.assert_array_equal(given, x.astype(np.float16).astype("f") * 4)
