"""Make the networks of candidates: apply their recipes to the original."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from tvmcomp.api import build
from tvmcomp.arguments import number_format
from tvmcomp.compress.cost import OperatorTimes
from tvmcomp.compress.fake_quantize import finish
from tvmcomp.compress.original import Original
from tvmcomp.compress.recipe import recipe_of
from tvmcomp.compress.run_folder import RunFolder
from tvmcomp.compress.samples import Parts, Sample
from tvmcomp.compress.steps import Steps
from tvmcomp.compress.stored_weights import in_stored_type
from tvmcomp.compress.written_model import written_model
from tvmcomp.progress import Progress
from tvmcomp.runtime.metrics import Metric
from tvmcomp.search.candidate import Candidate
from tvmcomp.targets.description import TargetDescription

#: What a network that is no class scorer may lose before it is given up: all of it.
ANY_DROP = 100.0


@dataclass(frozen=True)
class Recipes:
    """What candidates are made of.

    Attributes:
        original: the network.
        parts: samples to fit by.
        choose: samples to choose by.
        metric: what is lost is told in.
        seed: of everything that is drawn.
    """

    original: Original
    parts: Parts
    choose: Sequence[Sample]
    metric: Metric
    seed: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the network's inputs."""
        return {spec.name: spec.shape for spec in self.original.signature.inputs}

    def make(
        self,
        candidate: Candidate,
        seconds: float,
        times: OperatorTimes,
        work: Path,
        progress: Progress,
    ) -> onnx.ModelProto:
        """The network of a candidate, as it is written.

        Args:
            candidate: it.
            seconds: that it may train for.
            times: on the target.
            work: keeps steps that are done, and numbers that took long.
            progress: is told of each stage.
        """
        numbers = work / "numbers"
        numbers.mkdir(parents=True, exist_ok=True)
        steps = Steps(
            self.original.prepared,
            self.parts,
            self.original.signature,
            self.seed,
            progress,
            RunFolder(work / candidate.base, {"base": candidate.base}),
            times,
            ANY_DROP,
            self.metric,
            numbers,
        )
        recipe = recipe_of([*candidate.recipe], {})
        small = in_stored_type(finish(steps.run(recipe.steps, seconds)), self.original.model)
        described = json.dumps(recipe.described())
        return written_model(small, self.original, described, self.choose)[0]


def build_network(
    network: Path | onnx.ModelProto,
    target: TargetDescription,
    shapes: Mapping[str, tuple[int, ...]],
    quant: str | None,
    out: Path,
) -> None:
    """Build a network in the formats that it has.

    Args:
        network: it, or its file.
        target: where it is to run.
        shapes: of its inputs.
        quant: what ``tvmcomp build`` is given beside.
        out: where the artifact is written.
    """
    build(
        network,
        target,
        number_format(quant),
        formats="asked",  # which is fastest is part of what was chosen
        shapes=shapes,
    ).save(out)
