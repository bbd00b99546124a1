"""`tvmcomp run`, `bench` and `eval` on boards of other processors: sshd, and QEMU as the runner.

int8 gives there what it gives here, bit for bit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from emulated import emulator
from msgspec.structs import replace
from networks import classifier, images
from small_artifacts import ARM, DENSE_SIGNATURE, compile_and_link, dense_artifact, dense_module
from small_artifacts import dense_weights as weights
from ssh_server import SshServer

import tvmcomp
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.quantize.config import QuantConfig

#: Fails where a command has imported TVM.
COMMAND = """
import sys
from tvmcomp.cli.main import main

sys.argv[0] = "tvmcomp"
try:
    main()
finally:
    assert not {"tvm", "tvm_ffi", "onnx"} & set(sys.modules)
"""
SAMPLES = 12
TEST = {"x": images(SAMPLES, 3, 16, 16), "label": np.arange(SAMPLES) % 10}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network in int8 for this machine and two boards, and samples for it."""
    folder = tmp_path_factory.mktemp("classifier")
    model = classifier(folder / "model.onnx")
    samples = [{"x": x[None]} for x in images(16, 3, 16, 16, seed=1)]
    config = QuantConfig(min_sqnr_db=None, round="nearest")
    for target in ("native", "arm", "armv7"):
        made = tvmcomp.build(model, target, "int8", samples, config=config)
        made.save(folder / f"{target}.tvmc")
    np.save(folder / "x.npy", TEST["x"][:1])
    np.savez(folder / "test.npz", **TEST)
    return folder


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "there"
    folder.mkdir()
    yield folder
    assert not list(folder.iterdir())


class Boards:
    """Calls the command line for a board whose programs a runner runs."""

    def __init__(self, sshd: SshServer, there: Path) -> None:
        self.options = ["--device", sshd.address, "--remote-dir", str(there), "--json"]
        path = f"{sshd.bin}:{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path}

    def call(self, runner: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        options = [*map(str, arguments), *self.options, "--runner", runner]
        return subprocess.run(
            [sys.executable, "-c", COMMAND, *options],
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=900,  # the first link for a processor builds its libc
            check=False,
        )

    def answer(self, runner: str, *arguments: object) -> dict:
        done = self.call(runner, *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def boards(sshd: SshServer, there: Path) -> Boards:
    return Boards(sshd, there)


@pytest.mark.slow  # the linker builds two C libraries first
@pytest.mark.ci
@pytest.mark.parametrize("target", ["arm", "armv7"])
def test_run_bench_and_eval(folder: Path, boards: Boards, target: str, tmp_path: Path) -> None:
    path = folder / f"{target}.tvmc"
    qemu = emulator(Artifact.load(path).metadata.target.triple)
    with tvmcomp.load(folder / "native.tvmc") as session:
        wanted = session.run({"x": TEST["x"][:1]})
        here = tvmcomp.evaluate(session, folder / "test.npz")

    assert boards.answer(qemu, "run", path)["agrees"] is True
    given = ["--input", folder / "x.npy", "-o", tmp_path / "out.npz"]
    boards.answer(qemu, "run", path, *given, "--threads", 2)
    with np.load(tmp_path / "out.npz") as outputs:
        assert set(outputs) == set(wanted)
        for name, array in wanted.items():
            np.testing.assert_array_equal(outputs[name], array)

    measured = boards.answer(qemu, "bench", path, "--repeat", 3, "--profile", "--threads", 1)
    assert (measured["runs"], measured["threads"], measured["agrees"]) == (3, 1, True)
    assert measured["machine"].startswith("ssh://")
    assert measured["kernels"] and measured["peak_memory_mib"] > 1

    data = ["--data", folder / "test.npz", "--float", path, "--threads", 1]
    found = boards.answer(qemu, "eval", path, *data)
    assert found["value"] == found["float_value"] == here.value  # two programs at once
    assert found["samples"] == SAMPLES


def test_a_cpu_that_lacks_instructions(boards: Boards, tmp_path: Path) -> None:
    target = replace(ARM, features=("dotprod",))
    linked = compile_and_link(dense_module(), target, DENSE_SIGNATURE)
    made = Artifact.create(
        **linked, constants=weights(), target=target, signature=DENSE_SIGNATURE,
        source="dense.onnx", source_digest="0" * 64,
    )  # fmt: skip
    made.save(tmp_path / "net.tvmc")
    np.save(tmp_path / "x.npy", np.zeros((1, 8), "float32"))
    qemu = emulator(target.triple)
    arguments = ["run", tmp_path / "net.tvmc", "--input", tmp_path / "x.npy"]
    done = boards.call(f"{qemu} -cpu cortex-a53", *arguments)
    assert done.returncode == 2
    assert "lacks instructions that the network uses: dotprod" in done.stderr
    assert boards.call(f"{qemu} -cpu cortex-a76", *arguments).returncode == 0


def test_another_machine_without_a_runner(boards: Boards, tmp_path: Path) -> None:
    dense_artifact(ARM).save(tmp_path / "net.tvmc")
    done = boards.call("", "run", tmp_path / "net.tvmc")
    if os.uname().machine != "aarch64":
        assert done.returncode == 2
        assert "needs the architecture aarch64" in done.stderr
