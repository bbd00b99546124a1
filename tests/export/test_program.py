"""The program of a network: what it prints, writes and exits with."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from exported import artifact_of
from networks import images, onnxruntime_outputs, share_of_range

import tvmcomp
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.reference import Reference, compare

Exported = Callable[[str], Path]


@pytest.fixture
def program(exported: Exported) -> Path:
    return exported("program") / "mobile_net"


def call(program: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(part) for part in (program, *arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_it_runs_on_files(program: Path, model: Path, tmp_path: Path) -> None:
    image = images(1, 3, 32, 32, seed=5)
    wanted = onnxruntime_outputs(model, {"image": image})
    image.tofile(tmp_path / "image.bin")
    outputs = [tmp_path / "scores.bin", tmp_path / "heat.bin"]
    for threads in ("1", "3"):
        done = call(program, "--threads", threads, tmp_path / "image.bin", *outputs)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        for path in outputs:
            given = np.fromfile(path, "float32").reshape(wanted[path.stem].shape)
            assert share_of_range(given, wanted[path.stem]) < 1e-5
            path.unlink()


def test_it_says_what_it_is(program: Path, artifact: Artifact) -> None:
    done = call(program, "--info")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["network"] == "mobile_net"
    assert found["inputs"] == [
        {"name": "image", "dtype": "float32", "shape": [1, 3, 32, 32], "bytes": 4 * 3 * 32 * 32}
    ]
    assert [each["name"] for each in found["outputs"]] == ["scores", "heat"]
    assert found["constants_bytes"] == sum(array.nbytes for array in artifact.constants)
    assert found["reference"] is True


def test_its_benchmark(program: Path) -> None:
    done = call(program, "--bench", "20", "--threads", "2", "--profile", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["threads"] == 2
    assert len(found["ms"]) == 20
    assert found["min_ms"] == min(found["ms"]) <= found["p50_ms"] <= found["p90_ms"]
    assert found["p99_ms"] <= max(found["ms"])
    assert found["peak_kib"] > 0
    assert all(each["calls"] >= 1 and each["ms"] >= 0 for each in found["kernels"])
    told = call(program, "--bench", "5", "--profile").stdout
    assert "1 threads, 5 runs" in told
    assert all(each["kernel"] in told for each in found["kernels"])


@pytest.mark.parametrize("scale", [1.0, 1.02])
def test_its_check_is_that_of_run(artifact: Artifact, scale: float, tmp_path: Path) -> None:
    """An output that differs gives exit status 1, and the figures of ``tvmcomp run``."""
    assert artifact.reference is not None
    true = artifact.reference
    heat = true.outputs["heat"].copy()
    heat[0, 0] *= scale
    changed = Reference(true.inputs, {**true.outputs, "heat": heat})
    made = Artifact(artifact.metadata, b"", artifact.constants, changed, artifact.packed_code)
    tvmcomp.export(made, tmp_path / "made", "program")
    done = call(tmp_path / "made" / "mobile_net", "--selftest", "--json")
    found = json.loads(done.stdout)
    wanted = compare(true.outputs, changed, artifact.metadata.quant)
    assert done.returncode == (0 if scale == 1 else 1)
    assert found["agrees"] is (scale == 1)
    for given, expected in zip(found["outputs"], wanted, strict=True):
        assert given["output"] == expected.output
        assert given["agrees"] is expected.agrees
        assert given["tolerance"] == expected.tolerance
        assert abs(given["within"] - expected.within) < 0.01
        assert abs(given["max_difference"] - expected.max_difference) < 1e-5


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["--selftest", "file"], ["--bench"], ["--bench", "0"], ["--bench", "many"],
        ["--serve", "file"], ["--cores", "0,x"], ["--cores"], ["--shape", "1"],
        ["--threads"], ["--threads", "0"], ["--fast"], ["only-one.bin"], ["--bench", "3", "a", "b"],
    ],
)  # fmt: skip
def test_a_wrong_command_line(program: Path, arguments: list[str]) -> None:
    done = call(program, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--selftest" in done.stderr


def test_it_answers_on_a_stream(program: Path, model: Path) -> None:
    image = images(1, 3, 32, 32, seed=5)
    requests = b"inputs\n" + image.tobytes() + b"run\ntime 3\nmemory\ntime 0\nrun\nhello\nrun\n"
    done = subprocess.run(
        [program, "--serve", "--cores", "0"], input=requests, capture_output=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, b"")  # for the request that is none
    wanted = onnxruntime_outputs(model, {"image": image})
    size = sum(array.nbytes for array in wanted.values())
    answers = done.stdout
    for line, count in (
        (b"ok 0", 0), (b"ok 0", 0), (b"ok %d" % size, size), (b"ok 24", 24), (b"ok 8", 8),
        (b"error not a number of runs", 0), (b"ok %d" % size, size), (b"error not a request", 0),
    ):  # fmt: skip
        found, _, answers = answers.partition(b"\n")
        assert found == line
        data, answers = answers[:count], answers[count:]
        if count == size:
            given = np.frombuffer(data, "float32")
            expected = np.concatenate([wanted[name].ravel() for name in ("scores", "heat")])
            assert share_of_range(given, expected) < 1e-5
    assert answers == b""


def test_a_wrong_file(program: Path, tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(bytes(10))
    (tmp_path / "long").write_bytes(bytes(4 * 3 * 32 * 32 + 1))
    (tmp_path / "right").write_bytes(bytes(4 * 3 * 32 * 32))
    outputs = [tmp_path / "a", tmp_path / "b"]
    for name, said in (("none", "No such file"), ("short", "less"), ("long", "more")):
        done = call(program, tmp_path / name, *outputs)
        assert done.returncode == 2
        assert said in done.stderr
        assert str(tmp_path / name) in done.stderr
    done = call(program, tmp_path / "right", tmp_path / "no" / "a", tmp_path / "b")
    assert done.returncode == 2
    assert str(tmp_path / "no" / "a") in done.stderr


@pytest.mark.parametrize("arguments", ["--selftest", "--selftest --json", "--info", "--bench 2"])
def test_an_output_that_can_not_be_written(program: Path, arguments: str) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [str(program), *arguments.split()]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 2
    assert b"can't be written" in done.stderr


def test_a_network_without_a_reference(model: Path, tmp_path: Path) -> None:
    plain = artifact_of(model, {"image": images(1, 3, 32, 32)}, with_reference=False)
    tvmcomp.export(plain, tmp_path / "made", "program", name="plain")
    done = call(tmp_path / "made" / "plain", "--selftest")
    assert done.returncode == 2
    assert "no reference" in done.stderr
    assert call(tmp_path / "made" / "plain", "--bench", "2").returncode == 0
