"""Accuracy and likeness, against numbers computed by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from small_artifacts import dense_artifact, dense_reference, dense_weights

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.cli.float_network import find_float_network
from tvmcomp.errors import InputError
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.runtime.evaluate import METRICS, Dataset, evaluate, read_dataset
from tvmcomp.runtime.session import Session, load

SIGNATURE = dense_artifact().metadata.signature
X = np.random.default_rng(5).standard_normal((40, 8)).astype("float32")
SCORES = dense_reference(X, dense_weights())["y"]
BEST = SCORES.argmax(axis=1)


@pytest.fixture(scope="module")
def session() -> Session:
    return load(dense_artifact())


@pytest.fixture(scope="module")
def noisy() -> Session:
    """The same network with other weights: what a poor quantization would give."""
    artifact = dense_artifact()
    weights = [w + np.float32(0.3) * np.sign(w) * (i + 1) for i, w in enumerate(artifact.constants)]
    return load(Artifact(artifact.metadata, artifact.library, weights, None))


def noisy_scores() -> np.ndarray:
    weights = dense_weights()
    changed = {
        name: w + np.float32(0.3) * np.sign(w) * (i + 1)
        for i, (name, w) in enumerate(weights.items())
    }
    return dense_reference(X, changed)["y"]


def write(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def test_top1_beside_the_float_network(session: Session, noisy: Session, tmp_path: Path) -> None:
    labels = BEST.copy()
    labels[:10] = (labels[:10] + 1) % 4
    dataset = read_dataset(write(tmp_path / "d.npz", x=X, label=labels), SIGNATURE)
    result = evaluate(noisy, dataset, "top1", session)
    wanted = 100 * np.mean(noisy_scores().argmax(axis=1) == labels)
    assert result.samples == 40
    assert result.float_value == pytest.approx(75)
    assert result.value == pytest.approx(wanted)
    assert result.difference == pytest.approx(wanted - 75)
    assert result.unit == "%"


def test_top5_counts_every_class_of_a_small_network(session: Session) -> None:
    dataset = Dataset({"x": X[:, None]}, (BEST + 2) % 4)
    assert evaluate(session, dataset, "top1").value == 0
    assert evaluate(session, dataset, "top5").value == 100


def test_metrics_against_the_float_network(session: Session, noisy: Session) -> None:
    dataset = Dataset({"x": X[:, None]}, None)
    given = noisy_scores().astype("float64")
    wanted = SCORES.astype("float64")
    agreement = 100 * np.mean(given.argmax(axis=1) == BEST)
    assert evaluate(noisy, dataset, "agreement", session).value == pytest.approx(agreement)
    sqnr = 10 * np.log10(np.sum(wanted**2) / np.sum((given - wanted) ** 2))
    assert evaluate(noisy, dataset, "sqnr", session).value == pytest.approx(sqnr, rel=1e-4)
    dots = np.sum(given * wanted, axis=1)
    norms = np.linalg.norm(given, axis=1) * np.linalg.norm(wanted, axis=1)
    cosine = np.mean(np.where(norms > 0, dots / np.maximum(norms, 1e-30), 1))
    assert evaluate(noisy, dataset, "cosine", session).value == pytest.approx(cosine, rel=1e-4)
    assert evaluate(session, dataset, "sqnr", session).value == np.inf


def test_the_second_output(session: Session, noisy: Session) -> None:
    dataset = Dataset({"x": X[:, None]}, None)
    first = evaluate(noisy, dataset, "sqnr", session)
    second = evaluate(noisy, dataset, "sqnr", session, output="z")
    assert second.output == "z"
    assert second.value == pytest.approx(first.value, rel=1e-5)  # z is twice y
    with pytest.raises(InputError, match="no output 'w'"):
        evaluate(noisy, dataset, "sqnr", session, output="w")


def test_sample_axis_with_and_without_the_batch_axis(tmp_path: Path) -> None:
    flat = read_dataset(write(tmp_path / "a.npz", x=X), SIGNATURE)
    full = read_dataset(write(tmp_path / "b.npz", x=X[:, None]), SIGNATURE)
    assert len(flat) == len(full) == 40
    for one, other in zip(flat, full, strict=True):
        assert one["x"].shape == (1, 8)
        np.testing.assert_array_equal(one["x"], other["x"])


def test_an_input_may_be_called_label(tmp_path: Path) -> None:
    signature = Signature((TensorSpec("label", (1, 8), "float32"),), SIGNATURE.outputs)
    dataset = read_dataset(write(tmp_path / "d.npz", label=X), signature)
    assert dataset.labels is None and len(dataset) == 40


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"there is no x"),
        ({"y": X}, r"there is no x; no input is called y"),
        ({"x": X, "y": X}, r"arrays x, y; no input is called y"),
        ({"x": X.astype("float64")}, "is float64, the network takes float32"),
        ({"x": X[:, :7]}, r"shape \[40, 7\]; expected a sample axis before \[1, 8\]"),
        ({"x": X[0]}, "expected a sample axis"),
        ({"x": np.float32(1)}, "expected a sample axis"),
        ({"x": X[:0]}, "at least one"),
        ({"x": X, "label": BEST[:39]}, "same number of samples"),
        ({"x": X, "label": BEST.astype("float32")}, "not one integer a sample"),
        ({"x": X, "label": BEST[:, None]}, "not one integer a sample"),
        ({"x": X, "label": np.array(["cat"] * 40)}, "not one integer a sample"),
        ({"x": X, "label": np.array([{}] * 40)}, "can't be read"),
    ],
)
def test_malformed_data(tmp_path: Path, arrays, message: str) -> None:
    path = write(tmp_path / "d.npz", **arrays)
    with pytest.raises(InputError, match=message) as caught:
        read_dataset(path, SIGNATURE)
    assert str(path) in str(caught.value)


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", X)
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npz").touch()
    write(tmp_path / "cut.npz", x=X)
    content = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    for name in ("one.npy", "text.npz", "empty.npz", "cut.npz", "absent.npz"):
        with pytest.raises(InputError, match=name):
            read_dataset(tmp_path / name, SIGNATURE)


def test_metrics_that_can_not_be_computed(session: Session) -> None:
    unlabelled = Dataset({"x": X[:, None]}, None)
    with pytest.raises(InputError, match="needs labels"):
        evaluate(session, unlabelled, "top1")
    with pytest.raises(InputError, match="compares with the float network"):
        evaluate(session, unlabelled, "sqnr")
    with pytest.raises(InputError, match="labels go from 0 to 4, the output has 4 classes"):
        evaluate(session, Dataset({"x": X[:5, None]}, np.arange(5)), "top1")


def test_float_network_by_path(tmp_path: Path) -> None:
    dense_artifact().save(tmp_path / "float.tvmc")
    found, remark = find_float_network(dense_artifact(), tmp_path / "float.tvmc")
    assert found is not None and remark == ""
    other = msgspec.structs.replace(
        dense_artifact().metadata, signature=Signature(SIGNATURE.inputs, SIGNATURE.outputs[:1])
    )
    odd = dense_artifact(with_reference=False)
    with pytest.raises(InputError, match="other inputs or outputs"):
        find_float_network(Artifact(other, odd.library, odd.constants), tmp_path / "float.tvmc")


def test_the_source_is_built_only_if_it_is_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "net.onnx"
    source.write_bytes(b"a model")
    digest = hashlib.sha256(b"a model").hexdigest()
    dense = dense_artifact()
    metadata = msgspec.structs.replace(
        dense.metadata, source=str(source), source_digest=digest, quant="int8"
    )
    quantized = Artifact(metadata, dense.library, dense.constants)
    asked = []

    def build(model: str, **options: object) -> Artifact:
        asked.append((model, options))
        return dense

    monkeypatch.setattr("tvmcomp.build", build, raising=False)
    assert find_float_network(quantized, None, {"rate": [16000]}, "serve") == (dense, "")
    options = {"shapes": {"x": (1, 8)}, "fixed": {"rate": [16000]}, "signature": "serve"}
    assert asked == [(str(source), {"target": metadata.target, **options})]
    source.write_bytes(b"another model")
    assert "has changed" in find_float_network(quantized, None)[1]
    source.unlink()
    assert "is not there" in find_float_network(quantized, None)[1]
    assert find_float_network(dense, None)[0] is None
    assert len(asked) == 1


def test_the_command_offers_these_metrics() -> None:
    from tvmcomp.cli.eval import METRICS as OFFERED

    assert OFFERED == METRICS
