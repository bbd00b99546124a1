"""What the operators of a network could lose in rank, as a table: before anything is done."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx

from tvmcomp.compress.cost import Compute, OperatorTimes
from tvmcomp.compress.low_rank.options import LowRankSettings
from tvmcomp.compress.low_rank.prospects import Prospect, timed, with_factors, with_noise
from tvmcomp.compress.samples import Parts
from tvmcomp.compress.sensitivity import Sensitivity
from tvmcomp.progress import Progress

#: Samples that harm is measured with: each operator takes a run over them.
_MEASURED_WITH = 16


def study(
    model: onnx.ModelProto,
    parts: Parts,
    settings: LowRankSettings,
    times: OperatorTimes,
    compute: Compute,
    progress: Progress,
) -> list[Prospect]:
    """What each operator of ``model`` could lose, fitted on ``fit`` and with its harm on ``watch``.

    Args:
        model: a prepared graph.
        parts: samples.
        settings: what is asked for.
        times: on the target.
        compute: what the finished network's products are computed in.
        progress: is told of each stage.

    Raises:
        TvmcompError: an operator can't be built or computed.
    """
    step = progress.stage("timing ranks")
    prospects = list(timed(model, times, compute, settings, step))
    open_ = sum(1 for each in prospects if each.candidates)
    if not open_:
        return prospects
    step = progress.stage("factoring weights", open_)
    prospects = with_factors(model, prospects, parts.fit, step)
    step = progress.stage("measuring harm", open_)
    return with_noise(model, prospects, parts.watch[:_MEASURED_WITH], step)


def table(prospects: Sequence[Prospect], whole: float) -> list[Sensitivity]:
    """For each operator that is faster with a lower rank: its ranks, what each saves and harms.

    Args:
        prospects: of :func:`study`.
        whole: seconds of a run of the network.
    """
    return [
        Sensitivity(
            name=prospect.weight.node,
            kind="ranks",
            count=min(prospect.weight.scales, _columns(prospect)),
            left=min(candidate.form.ranks),
            saved=(prospect.seconds - candidate.seconds) / whole,
            harm=candidate.noise,
            operators=(prospect.weight.node,),
        )
        for prospect in prospects
        for candidate in prospect.candidates
    ]


def _columns(prospect: Prospect) -> int:
    return math.prod(prospect.weight.shape) // prospect.weight.scales
