"""What the exported program of a network gives, on this machine or under QEMU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from emulated import run_emulated
from exported import run

import tvmcomp
from tvmcomp.artifact.artifact import Artifact


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
