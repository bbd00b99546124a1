"""Networks of the kinds that int8 may harm, small and with random weights: built, run, judged.

Trained ones, with the points that they lose, are the work of benchmarks/accuracy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from slow_variants import first_and_slow

import tvmcomp
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.quantize import QuantConfig
from tvmcomp.quantize.config import DEFAULT_MIN_SQNR_DB
from tvmcomp.quantize.sqnr import sqnr_db

Arrays = dict[str, np.ndarray]
#: Fresh samples are not the calibration's: the ratio that was measured there may be missed a bit.
SLACK_DB = 2.0
NO_GUARD = QuantConfig(min_sqnr_db=None)


def network(path: Path, text: str, **weights: np.ndarray) -> Path:
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> net {text}')
    for name, array in weights.items():
        dtype = np.int64 if array.dtype.kind == "i" else np.float32
        model.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(dtype), name))
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def weight(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """A weight that keeps the variance of what it is multiplied with."""
    fan_in = np.prod(shape[1:]) if len(shape) > 2 else shape[0]
    return rng.normal(size=shape) / np.sqrt(fan_in)


def int8(path: Path, samples: list[Arrays], config: QuantConfig | None = None) -> Artifact:
    return tvmcomp.build(path, quant="int8", calibration=samples, config=config, reference=False)


def ratios(path: Path, artifact: Artifact, samples: list[Arrays]) -> dict[str, float]:
    """SQNR in dB of each output against ONNX Runtime."""
    reference = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    session = tvmcomp.load(artifact)
    names = [output.name for output in reference.get_outputs()]
    wanted = [reference.run(None, sample) for sample in samples]
    got = [session.run(sample) for sample in samples]
    return {
        name: sqnr_db(np.stack([row[i] for row in wanted]), np.stack([row[name] for row in got]))
        for i, name in enumerate(names)
    }


def kept_float(artifact: Artifact) -> list[str]:
    return artifact.metadata.calibration["kept_float"]


def test_one_hot_conv1d_is_quantized_whole(tmp_path: Path, rng: np.random.Generator) -> None:
    path = network(
        tmp_path / "dna.onnx",
        """(float[1,4,40] dna) => (float[1,3] scores) {
            a = Conv<pads=[4,4]>(dna, w1, b1)
            b = Relu(a)
            c = MaxPool<kernel_shape=[2], strides=[2]>(b)
            d = Conv<pads=[2,2]>(c, w2, b2)
            e = Relu(d)
            f = Flatten(e)
            scores = Gemm(f, w3, b3)
        }""",
        w1=weight(rng, 16, 4, 9), b1=rng.normal(size=16) / 4,
        w2=weight(rng, 16, 16, 5), b2=rng.normal(size=16) / 4,
        w3=weight(rng, 320, 3), b3=rng.normal(size=3),
    )  # fmt: skip
    letters = [np.eye(4)[rng.integers(4, size=40)].T for _ in range(48)]
    samples = [{"dna": letter[None].astype(np.float32)} for letter in letters]
    artifact = int8(path, samples[:16])
    assert not kept_float(artifact)
    assert ratios(path, artifact, samples[16:])["scores"] > 30


def test_inputs_of_unequal_range_are_guarded(tmp_path: Path, rng: np.random.Generator) -> None:
    """One feature is thousands of times the others, and as important: a range for all of them
    drowns the others.
    """
    spread = np.array([1, 1, 1, 1, 1, 1, 1, 5000.0])
    path = network(
        tmp_path / "features.onnx",
        """(float[1,8] features) => (float[1,1] price, float[1,4] probabilities) {
            a = Gemm(features, w1, b1)
            b = Relu(a)
            c = Gemm(b, w2, b2)
            d = Relu(c)
            price = Gemm(d, w3, b3)
            e = Gemm(d, w4, b4)
            probabilities = Softmax<axis=1>(e)
        }""",
        w1=weight(rng, 8, 32) / spread[:, None], b1=rng.normal(size=32) / 4,
        w2=weight(rng, 32, 32), b2=rng.normal(size=32) / 4,
        w3=4000 * weight(rng, 32, 1), b3=np.array([9000.0]),
        w4=4 * weight(rng, 32, 4), b4=np.zeros(4),
    )  # fmt: skip
    rows = rng.normal(size=(140, 1, 8)) * spread
    samples = [{"features": row.astype(np.float32)} for row in rows]
    bare = ratios(path, int8(path, samples[:100], NO_GUARD), samples[100:])
    assert min(bare.values()) < DEFAULT_MIN_SQNR_DB - SLACK_DB
    artifact = int8(path, samples[:100])
    guarded = ratios(path, artifact, samples[100:])
    assert min(guarded.values()) > DEFAULT_MIN_SQNR_DB - SLACK_DB
    kinds = [op.dtype for op in artifact.metadata.operators if op.kind == "matmul"]
    assert len(kept_float(artifact)) == kinds.count("float32") == 1


@pytest.mark.slow
@pytest.mark.ci
def test_attention_over_an_embedding(tmp_path: Path, rng: np.random.Generator) -> None:
    path = network(
        tmp_path / "attention.onnx",
        """(int64[1,12] ids) => (float[1,5] scores) {
            x = Gather<axis=0>(table, ids)
            n = LayerNormalization<axis=-1>(x, gain, shift)
            qkv = MatMul(n, w1)
            q, k, v = Split<axis=-1>(qkv, parts)
            kt = Transpose<perm=[0,2,1]>(k)
            s = MatMul(q, kt)
            p = Softmax<axis=-1>(s)
            m = MatMul(p, v)
            o = MatMul(m, w2)
            r = Add(o, x)
            mean = ReduceMean<axes=[1], keepdims=0>(r)
            scores = Gemm(mean, w3, b3)
        }""",
        table=rng.normal(size=(200, 32)), gain=np.ones(32), shift=np.zeros(32),
        w1=weight(rng, 32, 96), parts=np.array([32, 32, 32]), w2=weight(rng, 32, 32),
        w3=weight(rng, 32, 5), b3=np.zeros(5),
    )  # fmt: skip
    samples = [{"ids": rng.integers(200, size=(1, 12))} for _ in range(40)]
    artifact = int8(path, samples[:12])
    assert ratios(path, artifact, samples[12:])["scores"] > DEFAULT_MIN_SQNR_DB
    table = next(op for op in artifact.metadata.operators if op.kind == "take")
    assert (table.dtype, table.reason) == ("int8", None)
    assert table.sqnr_db is not None and 35 < table.sqnr_db < 60

    plain = int8(path, samples[:12], QuantConfig(keep_float=("take",)))
    saved = plain.constants_nbytes - artifact.constants_nbytes
    assert saved == 200 * 32 * 4 - (200 * 32 + 200 * 4)  # bytes, and a scale a row
    reasons = [op.reason for op in plain.metadata.operators if op.kind == "take"]
    assert reasons == ["kept in float as asked"]


@pytest.mark.parametrize("spread", first_and_slow(64, 1))
def test_channels_of_unequal_range(tmp_path: Path, rng: np.random.Generator, spread: int) -> None:
    """Scaling channels up before a ReLU and down behind it changes nothing in float."""
    factor = 2.0 ** rng.integers(0, np.log2(spread) + 1, size=16)
    path = network(
        tmp_path / "depthwise.onnx",
        """(float[1,3,12,12] x) => (float[1,6] scores) {
            a = Conv(x, w1, b1)
            b = Relu(a)
            c = Conv<group=16, pads=[1,1,1,1]>(b, w2, b2)
            d = Relu(c)
            e = Conv(d, w3, b3)
            f = GlobalAveragePool(e)
            scores = Flatten(f)
        }""",
        w1=weight(rng, 16, 3, 3, 3) * factor[:, None, None, None],
        b1=rng.normal(size=16) * factor / 4,
        w2=weight(rng, 16, 1, 3, 3) / factor[:, None, None, None], b2=rng.normal(size=16) / 4,
        w3=weight(rng, 6, 16, 1, 1), b3=rng.normal(size=6),
    )  # fmt: skip
    samples = [{"x": rng.normal(size=(1, 3, 12, 12)).astype(np.float32)} for _ in range(40)]
    artifact = int8(path, samples[:16])
    guarded = ratios(path, artifact, samples[16:])["scores"]
    assert guarded > DEFAULT_MIN_SQNR_DB - SLACK_DB
