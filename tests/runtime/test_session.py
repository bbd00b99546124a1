"""Run artifacts on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import ml_dtypes
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

from tvmcomp.artifact import Artifact
from tvmcomp.errors import ArtifactError, ConfigError, InputError
from tvmcomp.runtime.machine import ThisMachine
from tvmcomp.runtime.session import Session, load
from tvmcomp.runtime.threads import logical_cpus


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
    monkeypatch.setattr(ThisMachine, "load_library", lambda *_: pytest.fail("native code loaded"))
    other = X86 if HERE is ARM else ARM
    with pytest.raises(ArtifactError, match=other.triple):
        load(dense_artifact(other))


def test_no_file_is_left_behind(path: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    load(path).run({"x": sample(1)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("threads", [0, -1, logical_cpus() + 1])
def test_impossible_threads(path: Path, threads: int) -> None:
    with pytest.raises(ConfigError, match=f"{threads} threads"):
        load(path, threads=threads)


def test_threads_are_what_was_asked_for_in_every_calling_thread(path: Path) -> None:
    """In a process of its own: TVM fixes the pool's largest size at its first use."""
    code = f"""
import threading, numpy as np
from tvmcomp.runtime.tvm_runtime import prefer_runtime_library
prefer_runtime_library()
from tvmcomp.tvm_import import tvm
from tvmcomp.runtime.session import load
count = tvm.get_global_func("runtime.NumThreads")
x = {{"x": np.zeros((1, 8), "float32")}}
def use(threads, seen):
    load({str(path)!r}, threads=threads).run(x)
    seen.append(count())
    both = load({str(path)!r}, threads={logical_cpus()}), load({str(path)!r}, threads=1)
    for session in both:
        session.run(x)
        seen.append(count())
seen = []
use(1, seen)
other = threading.Thread(target=use, args=({logical_cpus()}, seen))
other.start(); other.join()
print(seen)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_plain_env()
    )
    every = logical_cpus()
    assert done.stdout.strip() == str([1, every, 1, every, every, 1])


def test_the_runtime_library_is_enough(path: Path) -> None:
    code = f"""
import sys
from tvmcomp.runtime.tvm_runtime import prefer_runtime_library
prefer_runtime_library()
from tvmcomp.runtime.session import load
session = load({str(path)!r})
session.run(session.artifact.golden.inputs)
session.benchmark(10)
session.profile(2)
print([line.split()[-1] for line in open("/proc/self/maps") if "libtvm_compiler" in line])
print("tvm.relax" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_plain_env()
    )
    assert done.stdout.split() == ["[]", "False"]


def test_a_type_that_numpy_does_not_know() -> None:
    """bfloat16 constants can't be shared through numpy; they are copied bit by bit."""
    array = np.array([1.5, -3.25, 1e30], ml_dtypes.bfloat16)
    machine = ThisMachine()
    tensor = machine.tensor(array, machine.tvm_device(HERE))
    assert tensor.dtype == "bfloat16"
    assert tensor.numpy().tobytes() == array.tobytes()


def test_constants_are_not_copied(path: Path) -> None:
    artifact = Artifact.load(path)
    machine = ThisMachine()
    tensor = machine.tensor(artifact.constants[0], machine.tvm_device(HERE))
    assert np.from_dlpack(tensor).ctypes.data == artifact.constants[0].ctypes.data


def test_benchmark(session: Session) -> None:
    result = session.benchmark(50)
    assert result.runs == 50
    assert 0 < result.min_ms <= result.p50_ms <= result.p90_ms <= result.p99_ms
    assert result.spread >= 0
    assert result.load_ms > 0
    assert result.peak_memory_mib is not None and result.peak_memory_mib > 10


def test_benchmark_without_golden_inputs() -> None:
    assert load(dense_artifact(with_golden=False)).benchmark(10).runs == 10


def test_profile_names_every_kernel_and_harms_nothing(session: Session) -> None:
    x = {"x": sample(7)}
    before = session.run(x)["y"]
    kernels = {kernel.name: kernel for kernel in session.profile(runs=3)}
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
    for worker in workers:
        worker.join()
    assert failures == []


def test_one_output_without_a_tuple() -> None:
    session = load(one_kernel_artifact("double"))
    assert session.run({"x": np.array([4], "float32")})["y"] == [8]


def _plain_env() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("TVM_")}
