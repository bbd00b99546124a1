"""The programs of other processors, run: int8 gives the bits of x86, float32 nearly so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from emulated import run_emulated
from exported import artifact_of, run
from networks import EXAMPLE, share_of_range

import tvmcomp
from tvmcomp import targets
from tvmcomp.artifact.artifact import Artifact

#: Every processor that code is made for, and one that has what ARMv7 need not: division.
TARGETS = ("arm", "armv7", "rpi2", "riscv64")
MODEL, SAMPLES = EXAMPLE / "model.onnx", EXAMPLE / "calib.npz"
IMAGE = {"x": np.load(EXAMPLE / "test.npz")["x"][:1]}

pytestmark = [pytest.mark.slow, pytest.mark.ci]


def outputs_of(artifact: Artifact, inputs: dict[str, np.ndarray], folder: Path) -> dict:
    """What the exported program of ``artifact`` gives, by output."""
    target, signature = artifact.metadata.target, artifact.metadata.signature
    tvmcomp.export(artifact, folder / "made", "program", name="net")
    files = []
    for i, spec in enumerate(signature.inputs):
        files.append(folder / f"in{i}.bin")
        inputs[spec.name].tofile(files[-1])
    results = [folder / f"out{i}.bin" for i, _ in enumerate(signature.outputs)]
    arguments = ["--threads", "2", *map(str, files), *map(str, results)]
    if target.name == "native":
        run([folder / "made" / "net", *arguments])
    else:
        done = run_emulated(target.triple, folder / "made" / "net", arguments)
        assert (done.returncode, done.stderr) == (0, "")
    return {
        spec.name: np.fromfile(path, spec.dtype).reshape(spec.shape)
        for spec, path in zip(signature.outputs, results, strict=True)
    }


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> dict[Path | None, dict]:
    """What programs for this machine give, by what they were calibrated with."""
    return {
        samples: outputs_of(
            artifact_of(MODEL, IMAGE, "native", samples), IMAGE, tmp_path_factory.mktemp("here")
        )
        for samples in (None, SAMPLES)
    }


@pytest.mark.parametrize("target", TARGETS)
def test_the_example_in_float(target: str, here: dict, tmp_path: Path) -> None:
    there = outputs_of(artifact_of(MODEL, IMAGE, target), IMAGE, tmp_path)
    for name, wanted in here[None].items():
        assert share_of_range(there[name], wanted) <= 1e-5


@pytest.mark.parametrize("target", TARGETS)
def test_the_example_in_int8(target: str, here: dict, tmp_path: Path) -> None:
    """The activations' integers are signed there and unsigned here: they stand for the same."""
    there = outputs_of(artifact_of(MODEL, IMAGE, target, SAMPLES), IMAGE, tmp_path)
    for name, wanted in here[SAMPLES].items():
        np.testing.assert_array_equal(there[name], wanted)


def test_every_processor_has_a_target() -> None:
    arches = {targets.load(name).triple.partition("-")[0] for name in TARGETS}
    assert arches == {"aarch64", "armv7l", "riscv64"}
