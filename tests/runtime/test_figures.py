"""``tvmcomp.bench`` and ``tvmcomp.evaluate``, on what a person has in hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_artifacts import CLASSES, FEATURES, dense_artifact, dense_reference, dense_weights

import tvmcomp
from tvmcomp.errors import InputError
from tvmcomp.runtime.evaluate import read_dataset


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Samples whose labels are what the network says, save for the last one's."""
    x = np.random.default_rng(2).standard_normal((8, FEATURES)).astype("float32")
    labels = dense_reference(x, dense_weights())["y"].argmax(axis=1)
    labels[-1] = (labels[-1] + 1) % CLASSES
    np.savez(tmp_path / "data.npz", x=x, label=labels)
    return tmp_path / "data.npz"


def test_a_file_an_artifact_and_a_session_are_measured(tmp_path: Path) -> None:
    artifact = dense_artifact()
    artifact.save(tmp_path / "net.tvmc")
    with tvmcomp.load(artifact, threads=1) as session:
        for each in (tmp_path / "net.tvmc", str(tmp_path / "net.tvmc"), artifact, session):
            figures = tvmcomp.bench(each, 10, threads=1)
            assert figures.runs == 10 and figures.threads == 1
            assert 0 < figures.min_ms <= figures.p50_ms <= figures.p99_ms
        session.run({"x": np.zeros((1, FEATURES), np.float32)})  # it stays open


def test_evaluate_beside_the_float_network(tmp_path: Path, data: Path) -> None:
    artifact = dense_artifact()
    result = tvmcomp.evaluate(artifact, data, float_network=artifact)
    assert (result.metric, result.samples, result.value) == ("top1", 8, 87.5)
    assert result.float_value == 87.5 and result.difference == 0
    dataset = read_dataset(data, artifact.metadata.signature)
    with tvmcomp.load(artifact) as session:
        assert tvmcomp.evaluate(session, dataset, "cosine", session, output="z").value == 1.0
        with pytest.raises(InputError, match="float network"):
            tvmcomp.evaluate(session, data, "sqnr")
