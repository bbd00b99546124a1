"""Builds for GPUs, timed: every network of the zoo in every precision, with no GPU."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import onnx

import tvmcomp
from benchmarks.zoo.catalogue import NETWORKS
from tvmcomp import targets
from tvmcomp.arguments import Quant
from tvmcomp.artifact.artifact import Artifact

TARGETS = ("h100", "jetson-orin", "rtx4090")
QUANTS: tuple[Quant | None, ...] = (None, "fp16", "bf16", "int8")
#: Calibration samples: what the integers are, no kernel depends on.
_SAMPLES = 2
_TIMEOUT_S = 900


class BuildRow(NamedTuple):
    """One build.

    Attributes:
        network, target, quant: of what.
        seconds: that the whole command took; None where it failed.
        cpu_seconds: of the processor, this process and the compiler's; None where it failed.
        mib: size of the artifact.
        reason: why it failed.
    """

    network: str
    target: str
    quant: str
    seconds: float | None
    cpu_seconds: float | None
    mib: float
    reason: str


def build_for_gpu(
    model: Path,
    target: targets.TargetDescription,
    quant: Quant | None,
    *,
    dump: Path | None = None,
    shapes: dict[str, tuple[int, ...]] | None = None,
) -> Artifact:
    """Build ``model`` with no log; int8 is calibrated on random numbers, and kept."""
    with TemporaryDirectory(prefix="tvmcomp-cuda-") as folder:
        integers = quant == "int8"
        return tvmcomp.build(
            model,
            target=target,
            quant=quant,
            calibration=random_samples(model, Path(folder)) if integers else None,
            formats="asked" if integers else None,
            shapes=shapes,
            log="none",
            reference=False,
            dump=dump,
        )


def shapes_of(model: Path) -> dict[str, tuple[int, ...]]:
    """The shapes that a network of the zoo is built for; no other has any but the model's own."""
    network = NETWORKS.get(model.stem)
    return dict(network.inputs) if network else {}


def random_samples(model: Path, folder: Path) -> Path:
    """Some for each input of an ONNX model; an open dimension is the zoo's, or 1."""
    rng, shapes = np.random.default_rng(0), shapes_of(model)
    graph = onnx.load(model, load_external_data=False).graph
    constants = {each.name for each in graph.initializer}
    drawn: dict[str, Any] = {}
    for each in graph.input:
        if each.name not in constants:
            tensor = each.type.tensor_type
            own = [dim.dim_value or 1 for dim in tensor.shape.dim]
            shape = [_SAMPLES, *shapes.get(each.name, own)[1:]]
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            values = rng.normal(size=shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
            drawn[each.name] = values.astype(dtype)
    path = folder / "samples.npz"
    np.savez(path, **drawn)
    return path


def timed_builds(
    models: Sequence[tuple[str, Path]],
    names: Sequence[str] = TARGETS,
    quants: Sequence[Quant | None] = QUANTS,
) -> Iterator[BuildRow]:
    """Build each in a process of its own, as a person would."""
    for network, model in models:
        for name in names:
            for quant in quants:
                yield _timed(network, model, name, quant)


def _timed(network: str, model: Path, target: str, quant: Quant | None) -> BuildRow:
    with TemporaryDirectory(prefix="tvmcomp-cuda-") as folder:
        path = Path(folder, "net.tvmc")
        command = [sys.executable, "-m", "tvmcomp", "build", str(model), "-o", str(path)]
        command += ["--target", target, "--quant", quant or "none", "--log", "none"]
        for name, shape in shapes_of(model).items():
            command += ["--shape", f"{name}={','.join(map(str, shape))}"]
        if quant == "int8":
            command += ["--calibration", str(random_samples(model, Path(folder)))]
            command += ["--formats", "asked", "--round", "nearest"]
        begin, before = time.perf_counter(), _children_seconds()
        reason = ""
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
            if done.returncode:
                reason = done.stderr.strip().splitlines()[-1] if done.stderr else "no message"
        except subprocess.TimeoutExpired:
            reason = f"no result within {_TIMEOUT_S} s"
        seconds, cpu = time.perf_counter() - begin, _children_seconds() - before
        if reason:
            return BuildRow(network, target, quant or "float32", None, None, 0.0, reason)
        mib = path.stat().st_size / 2**20
        return BuildRow(network, target, quant or "float32", seconds, cpu, mib, "")


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
