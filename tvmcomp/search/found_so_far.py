"""What a search found so far, as ``front.json`` has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx

from tvmcomp import __version__
from tvmcomp.search.candidate import ORIGINAL
from tvmcomp.search.goals import Goals
from tvmcomp.search.making import Maker
from tvmcomp.search.outcome import Front
from tvmcomp.search.points import Point


def front_of(
    maker: Maker,
    points: Sequence[Point],
    goals: Goals,
    budget: float,
    spent: float,
    notes: Iterable[str],
) -> Front:
    """The document of a search.

    Args:
        maker: of its candidates.
        points: that were measured.
        goals, budget: what was asked for.
        spent: seconds.
        notes: what a person should know.
    """
    parts, judging = maker.data.parts, maker.judging
    return Front(
        model=maker.original.source,
        target=maker.target,
        device=maker.device,
        machine=maker.timed(ORIGINAL).machine if points else "",
        metric=judging.metric,
        judged_on=maker.data.judged_on,
        samples={
            "fit": len(parts.fit),
            "watch": len(parts.watch),
            "choose": len(judging.choose),
            "judge": len(judging.judge),
        },
        goals=goals,
        budget_seconds=budget,
        spent_seconds=round(spent, 1),
        seed=maker.seed,
        versions={"tvmcomp": __version__, "onnx": onnx.__version__, "numpy": np.__version__},
        original=ORIGINAL.id,
        points=tuple(points),
        notes=tuple(dict.fromkeys(notes)),
    )
