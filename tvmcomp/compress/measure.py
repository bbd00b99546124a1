"""What a network costs on the target: counted here, built and timed by the commands of tvmcomp.

Each command is a process of its own: its memory is the network's and not torch's, its threads have
the cores to themselves, and what fails there is a remark in the proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from msgspec.structs import replace
from numpy.typing import NDArray

from tvmcomp import targets
from tvmcomp.compress.proof import Built, Side
from tvmcomp.compress.samples import Sample
from tvmcomp.frontend.binding import Binding
from tvmcomp.frontend.onnx.load import load_proto
from tvmcomp.frontend.written import write_onnx
from tvmcomp.own_process import run_tvmcomp
from tvmcomp.progress import Progress
from tvmcomp.report.inspect import inspect_model
from tvmcomp.runtime.arrays import write_npz
from tvmcomp.runtime.metrics import Metric

#: Seconds that a score of a built network may take; as many samples are used.
_SCORE_SECONDS = 60.0
_TURNS = 2


@dataclass(frozen=True)
class Measurement:
    """How networks are measured.

    Attributes:
        folder: to write files to.
        target: what to build for: a name, or the whole path of a file.
        device: where to run it; None is this machine.
        metric: to score built networks by; None doesn't.
        calibration: samples for int8 of a float network.
        judge: samples to score on.
        labels: theirs, for a metric against them.
    """

    folder: Path
    target: str
    device: str | None
    metric: Metric | None
    calibration: list[Sample]
    judge: list[Sample]
    labels: NDArray | None

    def sides(
        self, models: Mapping[str, onnx.ModelProto], built: bool, progress: Progress
    ) -> dict[str, Side]:
        """Measure networks, by name; they have no open dimension.

        Args:
            models: the original is ``before``.
            built: whether to build and time them as well.
            progress: is told of each build.
        """
        paths = {name: self.folder / f"{name}.onnx" for name in models}
        counted, builds = {}, {}
        for name, model in models.items():
            write_onnx(model, paths[name])
            counted[name] = inspect_model(load_proto(model, Binding()), [])
            for kind, options in self._kinds(model).items() if built else ():
                progress.stage(f"building ({name}, {kind})")
                builds[name, kind] = self._built(paths[name], kind, options)
        self._time(builds, progress)
        return {
            name: Side(
                onnx_bytes=path.stat().st_size,
                parameters=counted[name].parameters,
                macs=counted[name].macs,
                builds={kind: each for (owner, kind), each in builds.items() if owner == name},
            )
            for name, path in paths.items()
        }

    def _kinds(self, model: onnx.ModelProto) -> dict[str, list[Any]]:
        """What a network is built as, with the options that say so."""
        if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
            return {"int8": []}
        # The integers of both sides are compared, whether float32 would be faster here or not.
        integers = ["--quant", "int8", "--formats", "asked", "--calibration", self._calibration()]
        return {"float": [], "int8": integers}

    def _built(self, path: Path, kind: str, options: list[Any]) -> Built:
        artifact = self._artifact(path.stem, kind)
        if targets.load(self.target).family != "cuda":
            options = [*options, "--small"]
        report, problem = run_tvmcomp(
            "build", path, "-o", artifact, "--target", self.target, *options
        )
        return Built(
            artifact_bytes=report.get("artifact_bytes"),
            constants_bytes=report.get("constants_bytes_in_file"),
            problem=problem,
        )

    def _time(self, builds: dict[tuple[str, str], Built], progress: Progress) -> None:
        """Time what was built, in turns, and score it. What else runs here disturbs: of several
        turns the best counts."""
        device = [] if self.device is None else ["--device", self.device]
        for turn in range(_TURNS):
            for (name, kind), each in builds.items():
                if each.problem:
                    continue
                progress.stage(f"timing ({name}, {kind})")
                artifact = self._artifact(name, kind)
                timed, problem = run_tvmcomp("bench", artifact, *device)
                if "p50_ms" not in timed:
                    builds[name, kind] = replace(each, problem=problem)
                    continue
                if turn == 0:
                    score, problem = self._score(artifact, device, timed["p50_ms"])
                    each = replace(each, score=score, problem=problem)
                if each.p50_ms is None or timed["p50_ms"] < each.p50_ms:
                    figures = {n: timed[n] for n in ("p50_ms", "p99_ms", "peak_memory_mib")}
                    each = replace(each, **figures)
                builds[name, kind] = each

    def _artifact(self, name: str, kind: str) -> Path:
        return self.folder / f"{name}.{kind}.tvmc"

    def _score(
        self, artifact: Path, device: list[str], p50_ms: float
    ) -> tuple[float | None, str | None]:
        """What a built network scores; against the original's float build, without labels."""
        float_network = self._artifact("before", "float")
        if self.metric is None:
            return None, None
        if self.labels is None and (artifact == float_network or not float_network.exists()):
            return None, None
        count = max(1, min(len(self.judge), int(_SCORE_SECONDS / (2e-3 * p50_ms))))
        data = self.folder / f"judge-{count}.npz"
        if not data.exists():
            arrays = _stacked(self.judge[:count])
            if self.labels is not None:
                arrays["label"] = self.labels[:count]
            write_npz(data, arrays)
        options: list[Any] = ["--data", data, "--metric", self.metric, *device]
        if self.labels is None:
            options += ["--float", float_network]
        found, problem = run_tvmcomp("eval", artifact, *options)
        return found.get("value"), problem

    def _calibration(self) -> Path:
        path = self.folder / "calibration.npz"
        if not path.exists():
            write_npz(path, _stacked(self.calibration))
        return path


def _stacked(samples: list[Sample]) -> dict[str, NDArray]:
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
