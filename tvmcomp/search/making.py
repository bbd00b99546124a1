"""Make candidates: apply their recipes, build them, measure them on the device.

Each of these is kept in the folder as soon as it is finished, and is then never done again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import onnx

from tvmcomp.api import build
from tvmcomp.arguments import number_format
from tvmcomp.compress.cost import OperatorTimes
from tvmcomp.compress.data import Data
from tvmcomp.compress.fake_quantize import finish
from tvmcomp.compress.original import Original, read_original
from tvmcomp.compress.output_file import write_output
from tvmcomp.compress.recipe import recipe_of
from tvmcomp.compress.run_folder import RunFolder
from tvmcomp.compress.samples import Sample
from tvmcomp.compress.score import Score
from tvmcomp.compress.steps import Steps
from tvmcomp.compress.written_model import written_model
from tvmcomp.progress import Progress
from tvmcomp.replaced_file import replaced_file
from tvmcomp.runtime.machine import Machine, ThisMachine
from tvmcomp.runtime.session import load_on
from tvmcomp.search.candidate import Candidate
from tvmcomp.search.folder import Folder
from tvmcomp.search.judging import Judging, Run
from tvmcomp.search.outcome import commands
from tvmcomp.search.points import Point, Predicted
from tvmcomp.search.recipe_file import as_toml
from tvmcomp.search.timing import Timed, benched

#: What a network that is no class scorer may lose before it is given up: all of it.
_ANY_DROP = 100.0
#: Seconds that running all samples on the device may take; else the ONNX model is judged.
_SECONDS_TO_JUDGE = 60.0
_CONNECT_SECONDS = 3600.0


class Tried(msgspec.Struct, frozen=True):
    """A candidate's network, before it is built: its score, and the noise at its outputs."""

    lost: Score
    noise: float


@dataclass(frozen=True)
class Maker:
    """Makes candidates of one network for one device.

    Attributes:
        original: the network.
        data: samples.
        judging: scores networks.
        times: of small models on the target.
        folder: keeps everything.
        target, device: where it is to run.
        seed: of everything that is drawn.
        progress: is told of each stage.
        files: what was given as files, by the option of ``tvmcomp compress``.
    """

    original: Original
    data: Data
    judging: Judging
    times: OperatorTimes
    folder: Folder
    target: str
    device: str | None
    seed: int
    progress: Progress
    files: Mapping[str, str]

    def tried(self, candidate: Candidate, seconds: float = 0.0) -> Tried:
        """The network of a candidate, scored on samples to choose by.

        Args:
            candidate: it.
            seconds: that it may train for.
        """
        known = self.folder.known("proxy", candidate.id)
        if known is None:
            began = time.monotonic()
            model = self._model(candidate, seconds)
            tried = Tried(self.judging.chosen_by(model), self.judging.noise(model))
            known = msgspec.to_builtins(tried)
            self.folder.keep("proxy", candidate.id, began, known)
        return msgspec.convert(known, Tried)

    def timed(self, candidate: Candidate) -> Timed:
        """A candidate, built and timed on the device."""
        known = self.folder.known("timed", candidate.id)
        if known is None:
            began = time.monotonic()
            known = self._timed(candidate)
            self.folder.keep("timed", candidate.id, began, known)
        return msgspec.convert(known, Timed)

    def timed_again(self, candidate: Candidate, turn: int) -> Timed:
        """The same, timed once more: what else ran disturbs, and of several turns the best
        counts."""
        key = f"{candidate.id} {turn}"
        known = self.folder.known("timed", key)
        if known is None:
            began = time.monotonic()
            self.progress.stage(f"timing {candidate.name}")
            known = msgspec.to_builtins(benched(self.artifact(candidate), self.device))
            self.folder.keep("timed", key, began, known)
        return msgspec.convert(known, Timed)

    def judged(self, candidate: Candidate, p50_ms: float) -> Score:
        """The score on samples that no choice uses, of what was built where that does not take
        too long, else of its ONNX model."""
        return self._scored(candidate, "judged", p50_ms)

    def point(self, candidate: Candidate, predicted: Predicted | None) -> Point:
        """A candidate, made, built and timed."""
        tried, timed = self.tried(candidate), self.timed(candidate)
        folder = self.folder.path
        return Point(
            id=candidate.id,
            name=candidate.name,
            origin=candidate.origin,
            recipe=candidate.recipe,
            quant=candidate.quant,
            distilled=candidate.distilled,
            onnx=str(self.network(candidate).relative_to(folder)),
            artifact=str(self.artifact(candidate).relative_to(folder)),
            predicted=predicted,
            p50_ms=timed.p50_ms,
            p99_ms=timed.p99_ms,
            file_bytes=timed.file_bytes,
            peak_memory_bytes=timed.peak_memory_bytes,
            # What other formats do to it is seen only when it is built.
            chosen_by=self._scored(candidate, "chosen", 0.0) if candidate.quant else tried.lost,
            noise=tried.noise,
            commands=self.commands(candidate),
        )

    def commands(self, candidate: Candidate) -> tuple[str, ...]:
        """What makes it again, in the search's folder."""
        given = {
            **{name: str(Path(value).resolve()) for name, value in self.files.items()},
            "seed": self.seed,
            "max-drop": _ANY_DROP,
        }
        source = Path(self.original.source)
        model = str(source.resolve()) if source.exists() else self.original.source
        return commands(candidate, model, self.target, self.device, given)

    def artifact(self, candidate: Candidate) -> Path:
        """Where it is built."""
        return self.folder.of(candidate.id) / "model.tvmc"

    def network(self, candidate: Candidate) -> Path:
        """Where its network is."""
        return self.folder.of(candidate.id) / "model.onnx"

    def _model(self, candidate: Candidate, seconds: float) -> onnx.ModelProto:
        """Its network, finished, by its recipe; steps that are done are kept."""
        kept = RunFolder(self.folder.work(candidate.base), {"base": candidate.base})
        steps = Steps(
            self.original.prepared,
            self.data.parts,
            self.original.signature,
            self.seed,
            self.progress,
            kept,
            self.times,
            _ANY_DROP,
            self.judging.metric,
            self.folder.work("numbers"),
        )
        recipe = recipe_of([*candidate.recipe], {})
        small = finish(steps.run(recipe.steps, seconds))
        described = json.dumps(recipe.described())
        written, _ = written_model(small, self.original, described, self.judging.choose)
        write_output(written, self.network(candidate))
        with replaced_file(self.folder.of(candidate.id) / "recipe.toml") as temporary:
            temporary.write_text(as_toml(candidate.recipe))
        return small

    def _timed(self, candidate: Candidate) -> dict[str, Any]:
        self.progress.stage(f"building {candidate.name}")
        artifact = build(
            self.network(candidate),
            self.times.target,
            number_format(candidate.quant),
            formats="asked",  # which is fastest is part of what was chosen
            shapes={spec.name: spec.shape for spec in self.original.signature.inputs},
        )
        artifact.save(self.artifact(candidate))
        self.progress.stage(f"timing {candidate.name}")
        return msgspec.to_builtins(benched(self.artifact(candidate), self.device))

    def _scored(self, candidate: Candidate, kind: str, p50_ms: float) -> Score:
        known = self.folder.known(kind, candidate.id)
        if known is None:
            began = time.monotonic()
            self.progress.stage(f"judging {candidate.name}")
            lost = self._lost(candidate, kind, p50_ms)
            known = msgspec.to_builtins(lost)
            self.folder.keep(kind, candidate.id, began, known)
        return msgspec.convert(known, Score)

    def _lost(self, candidate: Candidate, kind: str, p50_ms: float) -> Score:
        judging = self.judging
        if kind == "chosen":
            with self._running(candidate) as run:
                return judging.built_chosen_by(run)
        if p50_ms / 1e3 * len(judging.judge) > _SECONDS_TO_JUDGE:
            return judging.judged(read_original(self.network(candidate)).prepared)
        with self._running(candidate) as run:
            return judging.built_judged(run)

    @contextmanager
    def _running(self, candidate: Candidate) -> Iterator[Run]:
        """What was built, where it is to run."""
        with _machine(self.device) as machine, load_on(machine, self.artifact(candidate)) as made:

            def run(sample: Sample) -> Mapping[str, Any]:
                return made.run(dict(sample))

            yield run


@contextmanager
def _machine(device: str | None) -> Iterator[Machine]:
    if device is None:
        yield ThisMachine()
        return
    from tvmcomp.devices import connect

    with connect(device, _CONNECT_SECONDS) as board:
        yield board
