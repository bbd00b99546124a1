"""Run artifacts on this machine."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from small_artifacts import (
    ARM,
    HERE,
    X86,
    dense_artifact,
    dense_reference,
    dense_weights,
    one_kernel_artifact,
)
from waiting import joined

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import ArtifactError, InputError
from tvmcomp.runtime import native_library
from tvmcomp.runtime.bench import benchmark
from tvmcomp.runtime.profile import profile
from tvmcomp.runtime.session import Session, load


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "dense.tvmc"
    dense_artifact().save(path)
    return path


@pytest.fixture(scope="module")
def session(path: Path) -> Session:
    return load(path)


def sample(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 8)).astype("float32")


def test_outputs_are_the_networks(session: Session) -> None:
    for seed in range(5):
        x = sample(seed)
        outputs = session.run({"x": x})
        assert list(outputs) == ["y", "z"]
        for name, wanted in dense_reference(x, dense_weights()).items():
            np.testing.assert_allclose(outputs[name], wanted, rtol=1e-5, atol=1e-6)


def test_outputs_belong_to_the_caller(session: Session) -> None:
    first = session.run({"x": sample(1)})
    kept = first["y"].copy()
    session.run({"x": sample(2)})
    np.testing.assert_array_equal(first["y"], kept)


def test_runs_from_memory_as_from_the_file(session: Session) -> None:
    x = sample(3)
    from_memory = load(dense_artifact()).run({"x": x})
    np.testing.assert_array_equal(from_memory["y"], session.run({"x": x})["y"])


def test_the_file_is_not_changed_by_running(path: Path, session: Session) -> None:
    session.run({"x": sample(1)})
    Artifact.load(path)


def test_non_contiguous_inputs(session: Session) -> None:
    x = np.asfortranarray(np.repeat(sample(4), 2, axis=1))[:, ::2]
    assert not x.flags.c_contiguous
    wanted = session.run({"x": np.ascontiguousarray(x)})["y"]
    np.testing.assert_array_equal(session.run({"x": x})["y"], wanted)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "input 'x' is missing"),
        ({"X": sample(0)}, "there is no input 'X'"),
        ({"x": sample(0), "more": sample(0)}, "there is no input 'more'"),
        ({"x": sample(0)[0]}, r"shape \[8\], not \[1, 8\]"),
        ({"x": sample(0).astype("float64")}, "is float64, not float32"),
        ({"x": sample(0).astype("int32")}, "is int32, not float32"),
        ({"x": sample(0).astype(">f4")}, "is >f4, not float32"),
        ({"x": sample(0).tolist()}, "is a list"),
    ],
)
def test_wrong_inputs(session: Session, inputs, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        session.run(inputs)
    assert "float32" in str(caught.value)


def test_an_artifact_for_another_architecture_is_refused_before_it_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native_library, "_load", lambda *_: pytest.fail("native code loaded"))
    other = X86 if HERE is ARM else ARM
    with pytest.raises(ArtifactError, match=other.triple):
        load(dense_artifact(other))


def test_no_file_is_left_behind(path: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    load(path).run({"x": sample(1)})
    assert list(tmp_path.iterdir()) == []


def test_benchmark(session: Session) -> None:
    result = benchmark(session, 50)
    assert result.runs == 50
    assert 0 < result.min_ms <= result.p50_ms <= result.p90_ms <= result.p99_ms
    assert result.spread >= 0
    assert result.load_ms > 0
    assert result.peak_memory_mib is not None and result.peak_memory_mib > 10


def test_benchmark_without_reference_inputs() -> None:
    assert benchmark(load(dense_artifact(with_reference=False)), 10).runs == 10


def test_profile_names_every_kernel_and_harms_nothing(session: Session) -> None:
    x = {"x": sample(7)}
    before = session.run(x)["y"]
    kernels = {kernel.name: kernel for kernel in profile(session, runs=3)}
    assert "matmul" in kernels
    assert kernels["matmul"].calls == 1
    assert kernels["matmul"].ms > 0
    assert sum(kernel.share for kernel in kernels.values()) == pytest.approx(1)
    np.testing.assert_array_equal(session.run(x)["y"], before)


def test_sessions_of_several_threads(path: Path) -> None:
    failures = []

    def work(seed: int) -> None:
        session = load(path, threads=1)
        for step in range(20):
            x = sample(seed * 100 + step)
            wanted = dense_reference(x, dense_weights())["y"]
            if not np.allclose(session.run({"x": x})["y"], wanted, rtol=1e-5, atol=1e-6):
                failures.append((seed, step))

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    joined(*workers)
    assert failures == []


def test_one_output_without_a_tuple() -> None:
    session = load(one_kernel_artifact("double"))
    assert session.run({"x": np.array([4], "float32")})["y"] == [8]
