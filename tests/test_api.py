"""The Python API, as the README shows it, on the example network and on networks of other kinds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from networks import (
    EXAMPLE,
    NetworkWriter,
    classifier,
    images,
    onnxruntime_outputs,
    share_of_range,
)
from onnx import TensorProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

import tvmcomp
from tvmcomp import frontend, targets
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.codegen.compile import generate
from tvmcomp.errors import CalibrationError, TargetError
from tvmcomp.passes.pipeline import lower
from tvmcomp.progress import NoProgress
from tvmcomp.quantize import QuantConfig
from tvmcomp.quantize.precision import choose_precision

MODEL = EXAMPLE / "model.onnx"


@pytest.fixture(scope="module")
def test_set() -> tuple[np.ndarray, np.ndarray]:
    """The example's 2,000 held-out images (N, 1, 1, 28, 28) and their labels."""
    with np.load(EXAMPLE / "test.npz") as data:
        return data["x"][:, None], data["label"]


@pytest.fixture(scope="module")
def float_artifact() -> Artifact:
    return tvmcomp.build(str(MODEL))


@pytest.fixture(scope="module")
def int8_artifact() -> Artifact:
    return tvmcomp.build(MODEL, quant="int8", calibration=EXAMPLE / "calib.npz")


def scores(artifact: Artifact | Path, samples: np.ndarray) -> np.ndarray:
    session = tvmcomp.load(artifact)
    return np.concatenate([session.run({"x": x})["logits"] for x in samples])


def accuracy(found: np.ndarray, labels: np.ndarray) -> float:
    return 100 * float(np.mean(found.argmax(axis=1) == labels))


def reference(samples: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"x": x})[0] for x in samples])


def test_the_calls_of_the_readme(tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx")
    samples = ({"x": picture[None]} for picture in images(6, 3, 16, 16))
    art = tvmcomp.build(
        str(net),
        target="native",
        quant="int8",
        calibration=samples,
        shapes={"x": (1, 3, 16, 16)},
        trials=0,
        log=None,
    )
    art.save(str(tmp_path / "net.tvmc"))
    session = tvmcomp.load(str(tmp_path / "net.tvmc"), threads=2)
    x = images(1, 3, 16, 16, seed=1)
    outputs = session.run({"x": x})
    assert list(outputs) == ["y"] and type(outputs["y"]) is np.ndarray
    assert outputs["y"].shape == (1, 10) and outputs["y"].dtype == np.float32
    assert share_of_range(outputs["y"], onnxruntime_outputs(net, {"x": x})["y"]) < 0.1
    assert session.threads == 2
    # A generator and a file of the same samples give the same numbers.
    np.savez(tmp_path / "calib.npz", x=images(6, 3, 16, 16))
    again = tvmcomp.build(net, "native", "int8", tmp_path / "calib.npz")
    for mine, other in zip(art.constants, again.constants, strict=True):
        np.testing.assert_array_equal(mine, other)
    # Two sessions live side by side, of a file and of an artifact in memory.
    with tvmcomp.load(again, threads=1) as second:
        np.testing.assert_array_equal(second.run({"x": x})["y"], outputs["y"])
        np.testing.assert_array_equal(session.run({"x": x})["y"], outputs["y"])
    # What a run returned is the caller's: the next run doesn't write over it.
    before = outputs["y"].copy()
    session.run({"x": 1 - x})
    np.testing.assert_array_equal(outputs["y"], before)


def test_float_agrees_with_onnxruntime(
    float_artifact: Artifact, test_set: tuple[np.ndarray, np.ndarray]
) -> None:
    samples = test_set[0][::20]
    assert share_of_range(scores(float_artifact, samples), reference(samples)) <= 1e-4


def test_int8_keeps_the_accuracy(
    int8_artifact: Artifact, test_set: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    samples, labels = test_set
    int8_artifact.save(tmp_path / "int8.tvmc")
    float_accuracy = accuracy(reference(samples), labels)
    int8_accuracy = accuracy(scores(tmp_path / "int8.tvmc", samples), labels)
    assert float_accuracy - int8_accuracy <= 0.3


def test_int8_report(int8_artifact: Artifact) -> None:
    operators = int8_artifact.metadata.operators
    heavy = [operator for operator in operators if operator.macs]
    assert len(heavy) == 24 and {operator.dtype for operator in heavy} == {"int8"}
    for operator in operators:
        assert operator.dtype == "int8" or operator.reason
    assert all(operator.sqnr_db is not None and operator.sqnr_db > 20 for operator in heavy)
    assert int8_artifact.metadata.calibration["samples"] == 256
    assert int8_artifact.metadata.calibration["sqnr_db"] >= 20


def test_constants_shrink(float_artifact: Artifact, int8_artifact: Artifact) -> None:
    whole = float_artifact.constants_nbytes
    # A quarter, scales and biases; some vectors of channels are padded to go together.
    assert int8_artifact.constants_nbytes <= 0.28 * whole
    half = tvmcomp.build(MODEL, quant="fp16", reference=False)
    assert half.constants_nbytes <= 0.55 * whole


@pytest.mark.parametrize(("quant", "share"), [("fp16", 5e-3), ("bf16", 3e-2)])
def test_half_precision(
    quant: str, share: float, test_set: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    if quant == "bf16" and not targets.detect().bfloat16:
        with pytest.raises(TargetError, match="no bfloat16"):
            tvmcomp.build(MODEL, quant="bf16")
        return
    samples, labels = test_set[0][::8], test_set[1][::8]
    found, wanted = scores(tvmcomp.build(MODEL, quant=quant), samples), reference(samples)
    assert 1e-6 < share_of_range(found, wanted) <= share
    assert abs(accuracy(found, labels) - accuracy(wanted, labels)) <= 0.4


def test_int8_needs_samples() -> None:
    with pytest.raises(CalibrationError, match="needs calibration data"):
        tvmcomp.build(MODEL, quant="int8")
    with pytest.raises(CalibrationError, match="there are no samples"):
        tvmcomp.build(MODEL, quant="int8", calibration=iter(()))


def many(path: Path) -> Path:
    """tokens int64 (1, 12), mask bool (1, 12), bias (1, 8) -> mean, per token, the best's index."""
    net = NetworkWriter(4)
    embedded = net.op("Gather", net.constant(np.eye(20, 16, dtype="float32")), "tokens", axis=0)
    mixed = net.op("Relu", net.op("MatMul", embedded, net.weight(16, 8)))
    shown = net.op("Unsqueeze", "mask", net.constant(np.array([2], "int64")))
    zero = net.constant(np.zeros(1, "float32"))
    net.op("Where", shown, net.op("Add", mixed, "bias"), zero, name="each")
    net.op("ReduceMean", "each", axes=[1], keepdims=0, name="mean")
    net.op("ArgMax", "mean", axis=1, keepdims=0, name="best")
    inputs = {"tokens": (1, 12), "mask": (1, 12), "bias": (1, 1, 8)}
    types = {"tokens": TensorProto.INT64, "mask": TensorProto.BOOL, "best": TensorProto.INT64}
    return net.save(path, inputs, ["each", "mean", "best"], types=types)


def many_sample(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "tokens": random.integers(0, 20, (1, 12)),
        "mask": random.random((1, 12)) < 0.7,
        "bias": random.standard_normal((1, 1, 8)).astype("float32"),
    }


@pytest.mark.parametrize("quant", [None, "int8"])
def test_many_inputs_and_outputs(quant: str | None, tmp_path: Path) -> None:
    path = many(tmp_path / "many.onnx")
    calibration = [many_sample(seed) for seed in range(4)] if quant else None
    session = tvmcomp.load(tvmcomp.build(path, quant=quant, calibration=calibration))
    assert [spec.dtype for spec in session.signature.inputs] == ["int64", "bool", "float32"]
    for seed in range(10, 15):
        sample = many_sample(seed)
        found, wanted = session.run(sample), onnxruntime_outputs(path, sample)
        assert list(found) == ["each", "mean", "best"]
        for name in ("each", "mean"):
            assert found[name].shape == wanted[name].shape
            assert share_of_range(found[name], wanted[name]) < (0.03 if quant else 1e-5)
        assert found["best"].dtype == np.int64
        if quant is None:
            np.testing.assert_array_equal(found["best"], wanted["best"])


def test_no_weights(tmp_path: Path) -> None:
    net = NetworkWriter()
    net.op("Softmax", net.op("Relu", net.op("Add", "a", "b")), axis=-1, name="y")
    path = net.save(tmp_path / "bare.onnx", {"a": (3, 7), "b": (3, 7)}, ["y"])
    random = np.random.default_rng(0)
    sample = {name: random.standard_normal((3, 7)).astype("float32") for name in "ab"}
    wanted = onnxruntime_outputs(path, sample)["y"]
    for quant in (None, "int8"):
        artifact = tvmcomp.build(path, quant=quant, calibration=[sample] if quant else None)
        assert artifact.constants_nbytes == 0
        artifact.save(tmp_path / "bare.tvmc")
        found = tvmcomp.load(tmp_path / "bare.tvmc").run(sample)["y"]
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("opset", [7, onnx.defs.onnx_opset_version()])
def test_oldest_and_newest_opset(opset: int, tmp_path: Path) -> None:
    path = classifier(tmp_path / "net.onnx", opset)
    model = onnx.load(path)
    assert model.opset_import[0].version == opset
    x = images(1, 3, 16, 16)
    found = tvmcomp.load(tvmcomp.build(path, reference=False)).run({"x": x})["y"]
    # ONNX Runtime may be older than the onnx package; these operators are the same in opset 17.
    known = classifier(tmp_path / "known.onnx", 17)
    assert share_of_range(found, onnxruntime_outputs(known, {"x": x})["y"]) < 1e-4


class _Reader(CalibrationDataReader):
    def __init__(self, samples: np.ndarray) -> None:
        self._samples: Iterator[np.ndarray] = iter(samples)

    def get_next(self) -> dict[str, np.ndarray] | None:
        picture = next(self._samples, None)
        return None if picture is None else {"x": picture[None]}


@pytest.fixture(scope="module")
def quantized_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qdq")
    path = folder / "qdq.onnx"
    quantize_static(
        classifier(folder / "float.onnx"),
        path,
        _Reader(images(16, 3, 16, 16)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return path


def test_a_quantized_model_is_honoured(quantized_model: Path) -> None:
    artifact = tvmcomp.build(quantized_model)
    metadata = artifact.metadata
    assert metadata.quant == "int8" and metadata.calibration == {}
    assert any("came quantized" in note for note in metadata.notes)
    heavy = [operator for operator in metadata.operators if operator.macs]
    assert len(heavy) == 4 and {operator.dtype for operator in heavy} == {"int8"}
    session = tvmcomp.load(artifact)
    step = _output_scale(onnx.load(quantized_model))
    steps = []
    for x in images(20, 3, 16, 16, seed=5)[:, None]:
        wanted = onnxruntime_outputs(quantized_model, {"x": x})["y"]
        steps.append(np.abs(session.run({"x": x})["y"] - wanted) / step)
    assert np.max(steps) <= 1.01
    assert np.mean(np.array(steps) < 0.01) > 0.9


def test_a_quantized_model_runs_on_integer_kernels(quantized_model: Path) -> None:
    target = targets.load("cascadelake")
    network = frontend.load_model(quantized_model, {})
    choice = choose_precision(
        network, target, targets.detect(), None, None, QuantConfig(), NoProgress(), None
    )
    executable = generate(lower(choice.mod, target), target)
    (code,) = [module for module in executable.mod.imports if module.kind == "llvm"]
    labels = re.split(r"^([A-Za-z_]\w*):", code.inspect_source("asm"), flags=re.MULTILINE)
    kernels = zip(labels[1::2], labels[2::2], strict=True)
    with_dots = " ".join(label for label, body in kernels if "vpdpbusd" in body)
    # All but the depthwise convolution.
    for name in ("conv_0", "conv_4", "matmul"):
        assert name in with_dots


def _output_scale(model: onnx.ModelProto) -> float:
    """The step of the last Q/DQ pair's grid."""
    (last,) = [node for node in model.graph.node if "y" in node.output]
    assert last.op_type == "DequantizeLinear"
    weights = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer
    }
    return float(weights[last.input[1]])
