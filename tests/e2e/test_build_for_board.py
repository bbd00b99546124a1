"""Cross-built networks on the emulated ARM board, through the command line, as a person does it.

What the board computes in integers must be what this machine computes, and its floats must be
ONNX Runtime's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from command_line import message_of, succeeds, tvmcomp
from networks import EXAMPLE, images, mobile, onnxruntime_outputs, share_of_range
from slow_variants import first_and_slow

from tvmcomp.artifact.artifact import Artifact

if TYPE_CHECKING:
    from board import Board

#: An 8-bit grid over the output's range has so many steps.
STEPS = 255
CALIBRATION_SAMPLES = 8


@dataclass(frozen=True)
class Network:
    name: str
    model: Path
    calibration: Path
    sample: Path


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Network]:
    """The example, and a network like MobileNetV3; each with an input not calibrated with."""
    folder = tmp_path_factory.mktemp("networks")
    with np.load(EXAMPLE / "calib.npz") as data:
        digits = data["x"][: CALIBRATION_SAMPLES + 1, None]
    found = {}
    for name, model, key, samples in (
        ("example", EXAMPLE / "model.onnx", "x", digits),
        ("mobile", mobile(folder / "mobile.onnx"), "image", images(9, 3, 32, 32)[:, None]),
    ):
        calibration, sample = folder / f"{name}-calib.npz", folder / f"{name}-sample.npz"
        np.savez(calibration, **{key: samples[:CALIBRATION_SAMPLES, 0]})
        np.savez(sample, **{key: samples[CALIBRATION_SAMPLES]})
        found[name] = Network(name, model, calibration, sample)
    return found


@pytest.fixture(scope="module")
def built(
    networks: dict[str, Network], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str, str], Path]:
    """`tvmcomp build` of a network for a target, once."""
    folder = tmp_path_factory.mktemp("artifacts")

    def build(name: str, target: str, quant: str) -> Path:
        path = folder / f"{name}-{target}-{quant}.tvmc"
        if not path.exists():
            network = networks[name]
            in_integers = ("--formats", "asked", "--calib", network.calibration)
            options = in_integers if quant == "int8" else ()
            options = ("--target", target, "--quant", quant, *options)
            report = succeeds("build", network.model, "-o", path, *options)
            assert report["target"] == target and report["quant"] == quant
        return path

    return build


def run_outputs(artifact: Path, out: Path, *options: object) -> dict[str, np.ndarray]:
    succeeds("run", artifact, "-o", out, *options)
    with np.load(out) as arrays:
        return dict(arrays)


def wait_for_the_end_of_sessions(board: Board, members: int) -> None:
    deadline = time.monotonic() + 20
    while len(board.members()) > members:
        assert time.monotonic() < deadline, "a session's process is left on the board"
        time.sleep(0.1)


@pytest.mark.parametrize("target", first_and_slow("arm", "rpi5", "graviton3"))
@pytest.mark.parametrize("name", first_and_slow("example", "mobile"))
def test_int8_is_what_this_machine_computes(
    board: Board,
    built: Callable[[str, str, str], Path],
    networks: dict[str, Network],
    tmp_path: Path,
    name: str,
    target: str,
) -> None:
    artifact, here = built(name, target, "int8"), built(name, "native", "int8")
    there = ("--device", board.address)
    # With its reference inputs: `run` itself compares with the reference outputs of this machine.
    assert succeeds("run", artifact, *there)["agrees"] is True
    given = ("--input", networks[name].sample)
    found = run_outputs(artifact, tmp_path / "there.npz", *given, *there)
    wanted = run_outputs(here, tmp_path / "here.npz", *given)
    assert list(found) == list(wanted)
    for output, array in wanted.items():
        step = np.ptp(array) / STEPS
        assert np.mean(np.abs(found[output] - array) <= step) >= 0.999, output
        assert np.ptp(array) > 0
    reference_there, reference_here = (
        Artifact.load(artifact).reference,
        Artifact.load(here).reference,
    )
    assert reference_there is not None and reference_here is not None
    for output, array in reference_here.outputs.items():
        np.testing.assert_array_equal(reference_there.outputs[output], array)


@pytest.mark.parametrize("target", first_and_slow("arm", "rpi5"))
@pytest.mark.parametrize("name", first_and_slow("example", "mobile"))
def test_float_is_onnxruntimes(
    board: Board,
    built: Callable[[str, str, str], Path],
    networks: dict[str, Network],
    tmp_path: Path,
    name: str,
    target: str,
) -> None:
    network = networks[name]
    options = ("--input", network.sample, "--device", board.address)
    found = run_outputs(built(name, target, "none"), tmp_path / "out.npz", *options)
    with np.load(network.sample) as sample:
        wanted = onnxruntime_outputs(network.model, dict(sample))
    for output, array in wanted.items():
        assert share_of_range(found[output], array) <= 1e-4, output


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("name", first_and_slow("example", "mobile"))
def test_bfloat16_agrees_with_float(
    board: Board,
    built: Callable[[str, str, str], Path],
    networks: dict[str, Network],
    tmp_path: Path,
    name: str,
) -> None:
    """bfdot, and bfcvtn behind it, on a core that has them."""
    network = networks[name]
    options = ("--input", network.sample, "--device", board.address)
    found = run_outputs(built(name, "graviton3", "bf16"), tmp_path / "out.npz", *options)
    with np.load(network.sample) as sample:
        wanted = onnxruntime_outputs(network.model, dict(sample))
    for output, array in wanted.items():
        assert 1e-6 < share_of_range(found[output], array) <= 3e-2, output


@pytest.mark.slow
@pytest.mark.ci
def test_a_core_without_dot_product(
    board_root: object, built: Callable[[str, str, str], Path]
) -> None:
    from board import Board

    artifact = built("mobile", "rpi4", "int8")
    with Board(cpu="cortex-a72") as rpi4:
        assert succeeds("run", artifact, "--device", rpi4.address)["agrees"] is True


def test_bench_and_eval_there_and_nothing_left_behind(
    board: Board, built: Callable[[str, str, str], Path], tmp_path: Path
) -> None:
    artifact, there = built("example", "rpi5", "int8"), ("--device", board.address)
    wait_for_the_end_of_sessions(board, len(board.members()))
    members = len(board.members())
    found = succeeds("bench", artifact, *there, "--repeat", 5)
    assert found["machine"] == board.address and found["agrees"] is True
    assert 0 < found["min_ms"] <= found["p50_ms"] <= found["p99_ms"]
    with np.load(EXAMPLE / "test.npz") as data:
        np.savez(tmp_path / "few.npz", x=data["x"][::250], label=data["label"][::250])
    float_network = built("example", "rpi5", "none")
    options = ("--data", tmp_path / "few.npz", "--float", float_network)
    found = succeeds("eval", artifact, *options, *there)
    assert found["samples"] == 8
    assert found["value"] == found["float_value"] == 100
    wait_for_the_end_of_sessions(board, members)
    assert not list(Path(board_folder(board)).rglob("*.so"))


def test_code_of_another_architecture_is_refused(
    board: Board, built: Callable[[str, str, str], Path]
) -> None:
    message = message_of(
        tvmcomp("run", built("mobile", "native", "int8"), "--device", board.address)
    )
    assert "can't run on the device" in message and "aarch64" in message


def board_folder(board: Board) -> Path:
    """Where the board's files lie on this machine."""
    assert board._folder is not None
    return board._folder
