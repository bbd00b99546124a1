"""Networks to export, made of what a build makes, and the tools of C that try what was written."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from needed import missing
from networks import onnxruntime_outputs

import tvmcomp
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.reference import Reference
from tvmcomp.quantize.config import QuantConfig

SECONDS = 600


def artifact_of(
    model: Path,
    inputs: dict[str, np.ndarray],
    target: str = "native",
    calibration: Path | None = None,
    with_reference: bool = True,
) -> Artifact:
    """An artifact whose reference is ONNX Runtime's float result; where samples are given all that
    can be is in integers, whatever is faster on one machine or another, and whatever it costs."""
    shapes = {name: array.shape for name, array in inputs.items()}
    made = tvmcomp.build(
        model,
        target,
        "int8" if calibration else None,
        calibration,
        shapes,
        config=QuantConfig(min_sqnr_db=None),
        formats="asked",
        reference=False,
    )
    wanted = Reference(inputs, onnxruntime_outputs(model, inputs)) if with_reference else None
    return msgspec.structs.replace(made, reference=wanted)


def tool(name: str) -> str:
    """A program on the PATH; without it the test is skipped, and in CI fails."""
    found = shutil.which(name)
    if found is None:
        missing(f"needs {name}")
    return found


def run(command: Sequence[str | Path], folder: Path | None = None) -> str:
    """What a command that succeeds without a word of complaint prints."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), (command, done.stdout, done.stderr)
    return done.stdout


#: Every warning is an error in what we write for people to compile.
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
