"""Networks to export, made of what a build makes, and the tools of C that try what was written."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from needed import missing
from networks import onnxruntime_outputs

from tvmcomp import frontend, targets
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.code import Code
from tvmcomp.artifact.reference import Reference
from tvmcomp.codegen.native.emit import emit
from tvmcomp.passes.pipeline import lower
from tvmcomp.progress import NoProgress
from tvmcomp.quantize import QuantConfig
from tvmcomp.quantize.data import load_samples
from tvmcomp.quantize.precision import choose_precision

SECONDS = 600


def artifact_of(
    model: Path,
    inputs: dict[str, np.ndarray],
    target: str = "native",
    calibration: Path | None = None,
    with_reference: bool = True,
) -> Artifact:
    """An artifact with code to export, whose reference is ONNX Runtime's float result; int8 where
    samples are given."""
    description, settings = targets.load(target), QuantConfig()
    quant = "int8" if calibration else None
    network = frontend.load_model(model, {}, for_quantization=quant is not None)
    samples = None
    if calibration is not None:
        chosen = settings.calibration
        samples = load_samples(calibration, network.signature, chosen.images, chosen.max_samples)
    choice = choose_precision(
        network, description, targets.detect(), quant, samples, settings, NoProgress(), None
    )
    lowered = lower(choice.mod, description)
    code = emit(lowered, description, network.signature)
    return Artifact.create(
        library=b"",
        code=Code(code.kernels, code.driver),
        constants={f"constant_{i}": array for i, array in enumerate(lowered.constants)},
        target=description,
        signature=network.signature,
        source=str(model),
        source_digest="0" * 64,
        quant=choice.precision,
        reference=Reference(inputs, onnxruntime_outputs(model, inputs)) if with_reference else None,
        unaligned_inputs=lowered.unaligned_inputs,
    )


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
