"""NaN and infinity pass through a float network as in ONNX Runtime: in every activation, behind a
convolution (in its epilogue) and alone, and through what takes maxima.
"""

from __future__ import annotations

import numpy as np
import pytest
from e2e.networks import NetworkWriter, onnxruntime_outputs

import tvmcomp
from tvmcomp import targets
from tvmcomp.errors import ModelError
from tvmcomp.quantize import QuantConfig

_VALUES = [np.nan, -1, 2, np.inf, -np.inf, 0, -0.3, 5]


def _activations(net: NetworkWriter, x: str) -> list[str]:
    def number(value: float) -> str:
        return net.constant(np.float32(value))

    channels = net.constant(np.linspace(-1, 1, 8, dtype="float32").reshape(1, 8, 1, 1))
    names = ["Relu", "Elu", "Selu", "Celu", "LeakyRelu", "HardSigmoid", "HardSwish", "Sigmoid",
             "Tanh", "Softplus", "Softsign", "ThresholdedRelu", "Erf", "Exp", "Sign", "Abs", "Neg",
             "Floor", "Ceil", "Round", "Sqrt", "Log", "Sin", "Reciprocal"]  # fmt: skip
    outputs = [net.op(name, x) for name in names]
    outputs.append(net.op("Clip", x, number(0), number(6)))
    outputs.append(net.op("Clip", x, number(-1)))
    outputs.append(net.op("Clip", x, "", number(1)))
    outputs += [net.op(name, x, number(0)) for name in ("Max", "Min", "Add", "Mul", "Div")]
    outputs += [net.op("Mul", number(0), x), net.op("LeakyRelu", x, alpha=0.0)]
    outputs += [net.op(name, number(0), x) for name in ("Max", "Min")]
    outputs += [net.op(name, x, channels) for name in ("Max", "Min", "PRelu")]
    outputs += [net.op(name, channels, x) for name in ("Max", "Min")]
    outputs += [net.op("Max", x, number(1), channels), net.op("Softmax", x, axis=1)]
    outputs.append(net.op("Mul", x, net.op("Sigmoid", x)))
    # ONNX Runtime's own depend on where a NaN stands; a channel of nothing else is one anyhow.
    outputs += [net.op(name, x, axes=[2, 3]) for name in ("ReduceMax", "ReduceMin", "ReduceMean")]
    outputs += [net.op("GlobalMaxPool", x), net.op("GlobalAveragePool", x)]
    outputs.append(net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4))
    return outputs


def _compare(path, feeds):
    with tvmcomp.load(tvmcomp.build(path), threads=1) as session:
        given = session.run(feeds)
    for name, wanted in onnxruntime_outputs(path, feeds).items():
        np.testing.assert_allclose(
            _bounded(given[name]), _bounded(wanted), rtol=1e-3, atol=1e-4, err_msg=name
        )


def _bounded(array: np.ndarray) -> np.ndarray:
    """ONNX Runtime's Clip makes infinity the largest number where it has no bound."""
    largest = np.finfo(np.float32).max
    return np.clip(array, -largest, largest)


def test_activations_alone(tmp_path):
    net = NetworkWriter()
    outputs = _activations(net, "x")
    path = net.save(tmp_path / "n.onnx", {"x": (1, 8, 6, 6)}, outputs)
    channels = np.array(_VALUES, "float32").reshape(1, 8, 1, 1)
    _compare(path, {"x": np.broadcast_to(channels, (1, 8, 6, 6)).copy()})


def test_behind_a_convolution_with_weights_that_are_no_numbers(tmp_path):
    net = NetworkWriter(1)
    weight = np.random.default_rng(0).standard_normal((8, 4, 3, 3)).astype("float32")
    weight[0, 1, 1, 1], weight[3, 0, 1, 1] = np.nan, np.inf
    x = net.op("Conv", "x", net.constant(weight), pads=[1] * 4)
    outputs = _activations(net, x)
    path = net.save(tmp_path / "n.onnx", {"x": (1, 4, 6, 6)}, outputs)
    _compare(path, {"x": np.random.default_rng(1).uniform(0.5, 1, (1, 4, 6, 6)).astype("float32")})


@pytest.mark.parametrize("operator", ["ReduceMax", "ReduceMin", "ArgMax", "ArgMin", "MaxPool"])
@pytest.mark.parametrize("last", [True, False])
def test_one_nan_among_many_is_what_numpy_says(operator, last, tmp_path):
    """A NaN anywhere is the extreme, and the first one its place."""
    x = np.random.default_rng(0).standard_normal((24, 37)).astype("float32")
    x[np.arange(24), np.arange(24)] = np.nan
    x[5] = np.arange(37)
    if not last:
        x = np.ascontiguousarray(x.T)
    axis = 1 if last else 0
    net = NetworkWriter()
    if operator == "MaxPool":
        image = net.op("Reshape", "x", net.constant(np.array([1, 1, *x.shape])))
        kernel = [1, 37] if last else [37, 1]
        net.op("MaxPool", image, kernel_shape=kernel, name="y")
    elif operator.startswith("Arg"):
        net.op(operator, "x", axis=axis, keepdims=0, name="y")
    else:
        net.op(operator, "x", axes=[axis], keepdims=0, name="y")
    path = net.save(
        tmp_path / "n.onnx", {"x": x.shape}, ["y"], types={"y": 7} if "Arg" in operator else None
    )
    with tvmcomp.load(tvmcomp.build(path), threads=1) as session:
        given = session.run({"x": x})["y"].reshape(-1)
    numpy_name = {"ReduceMax": "max", "ReduceMin": "min", "MaxPool": "max"}
    wanted = getattr(np, numpy_name.get(operator, operator.lower()))(x, axis=axis)
    np.testing.assert_array_equal(given, wanted)


def _with_a_weight(path, value):
    net = NetworkWriter(1)
    weight = np.random.default_rng(0).standard_normal((8, 4, 3, 3)).astype("float32")
    weight[0, 1, 1, 1] = value
    x = net.op("Relu", net.op("Conv", "x", net.constant(weight), name="first"))
    net.conv(x, (8, 8), (1, 1))
    net.op("Add", net.nodes[-1].output[0], net.constant(np.array(-np.inf, "f")), name="masked")
    return net.save(path, {"x": (1, 4, 6, 6)}, ["masked", net.nodes[-2].output[0]])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_not_quantized_unless_asked(value, tmp_path):
    path = _with_a_weight(tmp_path / "n.onnx", value)
    samples = [{"x": np.ones((1, 4, 6, 6), "float32")}]
    with pytest.raises(ModelError, match=r"first.*can't carry") as caught:
        tvmcomp.build(path, quant="int8", calibration=samples)
    assert "allow_nan" in str(caught.value)
    if np.isinf(value):  # NaN is found by calibration as well.
        config = QuantConfig(allow_nan=True, min_sqnr_db=None)
        tvmcomp.build(path, quant="int8", calibration=samples, config=config, reference=False)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_half_precision_keeps_what_is_no_number(precision, value, tmp_path):
    if precision == "bf16" and not targets.detect().bfloat16:
        pytest.skip("this machine has no bfloat16 arithmetic")
    path = _with_a_weight(tmp_path / "n.onnx", value)
    x = {"x": np.ones((1, 4, 6, 6), "float32")}
    with tvmcomp.load(tvmcomp.build(path, quant=precision), threads=1) as session:
        given = session.run(x)
    for name, wanted in onnxruntime_outputs(path, x).items():
        np.testing.assert_array_equal(np.isfinite(given[name]), np.isfinite(wanted))
