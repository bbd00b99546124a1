"""Make candidates: apply their recipes, build them, measure them on the device.

Each of these is kept in the folder as soon as it is finished, and is then never done again.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import onnx

from tvmcomp.compress.cost import Compute, OperatorTimes
from tvmcomp.compress.data import Data
from tvmcomp.compress.original import Original, read_original
from tvmcomp.compress.output_file import write_output
from tvmcomp.compress.score import Score
from tvmcomp.progress import Progress
from tvmcomp.replaced_file import replaced_file
from tvmcomp.search.candidate import ORIGINAL, Candidate
from tvmcomp.search.folder import Folder
from tvmcomp.search.judging import Judging
from tvmcomp.search.network_times import network_digest
from tvmcomp.search.outcome import commands
from tvmcomp.search.points import Point, Predicted
from tvmcomp.search.probes import in_integers
from tvmcomp.search.ray_makers import RayMakers
from tvmcomp.search.recipe_file import as_toml
from tvmcomp.search.recipes import ANY_DROP, Recipes
from tvmcomp.search.timing import Beside, Timed, running
from tvmcomp.search.workbench import Workbench

#: Seconds that running all samples on the device may take; else the ONNX model is judged.
_SECONDS_TO_JUDGE = 60.0


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
        recipes: make candidates' networks.
        helpers: make several at once on a Ray cluster; None where none was asked for.
        judging: scores networks.
        times: of small models on the target.
        bench: builds networks and times them.
        folder: keeps everything.
        target, device: where it is to run.
        seed: of everything that is drawn.
        progress: is told of each stage.
        files: what was given as files, by the option of ``tvmcomp compress``.
    """

    original: Original
    data: Data
    recipes: Recipes
    helpers: RayMakers | None
    judging: Judging
    times: OperatorTimes
    bench: Workbench
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
            beside = None if candidate.id == ORIGINAL.id else self._beside()
            network, artifact = self._made(candidate, 0.0), self.artifact(candidate)
            if not artifact.exists():
                self.folder.copied(candidate.id, "artifact")
            timed = self.bench.timed(candidate.name, network, artifact, candidate.quant, beside)
            self.folder.keep_files(candidate.id)
            known = msgspec.to_builtins(timed)
            self.folder.keep("timed", candidate.id, began, known)
        return msgspec.convert(known, Timed)

    def probed(
        self,
        model: onnx.ModelProto,
        compute: Compute,
        deadline: float,
        in_float: Collection[str] = (),
    ) -> Timed | None:
        """The times of a network whose results don't matter; None where it is too late to take
        them.

        Args:
            model: it, a prepared graph in float.
            compute: what its products are computed in.
            deadline: by ``time.monotonic()``.
            in_float: nodes that are not.
        """
        if compute == "int8":
            model = in_integers(model, self.data.parts, in_float)
        key = f"{compute} {network_digest(model)}"
        known = self.folder.known("probed", key)
        if known is None:
            began = time.monotonic()
            timed = self.bench.probed(
                f"a network for its times ({compute})", model, self.folder.work("probes"),
                self._beside(), deadline,
            )  # fmt: skip
            if timed is None:
                return None
            known = msgspec.to_builtins(timed)
            self.folder.keep("probed", key, began, known)
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
            "max-drop": ANY_DROP,
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

    @property
    def at_once(self) -> int:
        """How many candidates are made at once."""
        return 1 if self.helpers is None else self.helpers.count

    def has(self, candidate: Candidate) -> bool:
        """Whether its network is made, here or by an earlier search."""
        if self.network(candidate).exists():
            return True
        if copied := self.folder.copied(candidate.id, "network"):
            self._write_recipe(candidate)
        return copied

    def ahead(self, candidates: Collection[Candidate], seconds: float = 0.0) -> None:
        """Make and build several candidates at once, where there are helpers for it.

        Args:
            candidates: what will be tried next.
            seconds: that each may train for.
        """
        new = [c for c in candidates if not (self.artifact(c).exists() or self.has(c))]
        if self.helpers is None or len(new) < 2:
            return
        self.progress.stage(f"making {len(new)} networks on Ray")
        for candidate, made in self.helpers.make(new, seconds):
            self._write_recipe(candidate)
            for path, content in (
                (self.network(candidate), made.network),
                (self.artifact(candidate), made.artifact),
            ):
                with replaced_file(path) as temporary:
                    temporary.write_bytes(content)

    def _model(self, candidate: Candidate, seconds: float) -> onnx.ModelProto:
        """Its network, prepared."""
        path = self._made(candidate, seconds)
        return read_original(path, shapes=self.recipes.shapes).prepared

    def _made(self, candidate: Candidate, seconds: float) -> Path:
        """The file of its network, which an earlier search may have made; steps that are done are
        kept."""
        path = self.network(candidate)
        if not self.has(candidate):
            self._write_recipe(candidate)
            work = self.folder.work(".")
            made = self.recipes.make(candidate, seconds, self.times, work, self.progress)
            write_output(made, path)
        return path

    def _write_recipe(self, candidate: Candidate) -> None:
        with replaced_file(self.folder.of(candidate.id) / "recipe.toml") as temporary:
            temporary.write_text(as_toml(candidate.recipe), encoding="utf-8")

    def _beside(self) -> Beside:
        """The original, as it was timed first of all."""
        return Beside(self.artifact(ORIGINAL), self.timed(ORIGINAL).p50_ms)

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
            with running(self.artifact(candidate), self.device) as run:
                return judging.built_chosen_by(run)
        if p50_ms / 1e3 * len(judging.judge) > _SECONDS_TO_JUDGE:
            return judging.judged(self._model(candidate, 0.0))
        with running(self.artifact(candidate), self.device) as run:
            return judging.built_judged(run)
