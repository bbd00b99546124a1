"""What operators could lose in rank: faster ones only, and each rank's harm."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from tvmcomp.compress.cost import Compute, OperatorTimes
from tvmcomp.compress.fake_quantize.plan import plan_model
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.compress.low_rank.options import LowRankSettings
from tvmcomp.compress.low_rank.ranks import forms_of, lanes_of
from tvmcomp.compress.low_rank.study import study
from tvmcomp.compress.samples import Parts
from tvmcomp.progress import Progress
from tvmcomp.search.candidate import ORIGINAL
from tvmcomp.search.folder import Folder

#: Seconds that a form of an operator takes to be built and timed, at least.
_SECONDS_A_FORM = 1.0


@dataclass(frozen=True)
class Rank:
    """An operator in two factors.

    Attributes:
        rank: of them.
        time: of the time of the whole operator.
        noise: at the outputs.
        share: elements of the factors, of those of the weight.
    """

    rank: int
    time: float
    noise: float
    share: float


def ranks(
    model: onnx.ModelProto,
    parts: Parts,
    times: OperatorTimes,
    compute: Compute,
    folder: Folder,
    seconds: float,
    progress: Progress,
) -> Mapping[str, list[Rank]] | None:
    """The ranks that are worth a thought, by operator; None where there is no time to see.

    Args:
        model: a prepared graph in float.
        parts: samples.
        times: on the target.
        compute: what products are computed in.
        folder: keeps what was found.
        seconds: that it may take.
        progress: is told of each stage.
    """
    known = folder.known("ranks", compute)
    if known is None:
        lanes, weights = lanes_of(times.target), plan_model(model).weights
        tried = sum(1 + len(forms_of(weight, lanes)) for weight in weights)
        # As long as one of the whole network's operators took, on this machine and its load.
        took = folder.took("timed", ORIGINAL.id) / max(len(weights), 1)
        if max(_SECONDS_A_FORM, took) * tried > seconds:
            return None
        began = time.monotonic()
        settings = LowRankSettings(drop=0.0)
        known = {
            prospect.weight.node: [
                {
                    "rank": candidate.form.ranks[0],
                    "time": candidate.seconds / prospect.seconds,
                    "noise": float(candidate.noise),
                    "share": candidate.form.ranks[0] * _of_rank_1(prospect.weight),
                }
                for candidate in prospect.candidates
                if candidate.form.name == "narrow"
            ]
            for prospect in study(model, parts, settings, times, compute, progress)
        }
        folder.keep("ranks", compute, began, known)
    return {node: [Rank(**each) for each in found] for node, found in known.items()}


def _of_rank_1(weight: Weight) -> float:
    """Elements of factors of rank 1, of those of the weight."""
    count = math.prod(weight.shape)
    return (weight.scales + count / weight.scales) / count
