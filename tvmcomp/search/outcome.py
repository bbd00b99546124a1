"""What a search tells: the front, the best, or what stands in the way of the goals."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tvmcomp.search.candidate import Candidate
from tvmcomp.search.goals import WORDS, Goals, shown
from tvmcomp.search.points import Point, preferred


class Front(msgspec.Struct, frozen=True):
    """All of what was found; ``front.json``.

    Attributes:
        model, target, device, machine: what was searched for, and where.
        metric, judged_on, samples: how loss was measured.
        goals: what was asked for.
        budget_seconds, spent_seconds: of the search.
        seed: of everything that was drawn.
        versions: of the tools.
        finished: whether the search is over.
        reached: whether the goals are; None where there are none, or it is not over.
        best: the id of the point that was chosen.
        nearest: of the one that misses the goals by least, where none reaches them.
        in_the_way: what keeps it from that.
        notes: what a person should know.
        original: the id of the network as it was.
        points: all networks that were measured.
        command: what a person typed to search; empty where nobody did.
    """

    model: str
    target: str
    device: str | None
    machine: str
    metric: str
    judged_on: str
    samples: dict[str, int]
    goals: Goals
    budget_seconds: float
    spent_seconds: float
    seed: int
    versions: dict[str, str]
    original: str
    points: tuple[Point, ...]
    finished: bool = False
    reached: bool | None = None
    best: str | None = None
    nearest: str | None = None
    in_the_way: str | None = None
    notes: tuple[str, ...] = ()
    version: int = 1
    command: str = ""

    def point(self, id_: str | None) -> Point | None:
        """A point by its id."""
        return next((point for point in self.points if point.id == id_), None)


def settled(front: Front, slowest: Sequence[str]) -> Front:
    """``front`` with its best point, or the nearest and what is in the way.

    The order is that of samples to choose by; the judge only refuses.

    Args:
        front: all points, the best of them judged.
        slowest: what takes most time, a few words each.
    """
    judged = preferred((p for p in front.points if p.judged is not None), front.goals)
    holding = [p for p in judged if not front.goals.misses(p.judged_figures)]
    refused = [p for p in judged if p not in holding and not front.goals.misses(p.figures)]
    notes = [
        *front.notes,
        *(
            f"{p.name}: {p.chosen_by.drop:.2f} points were lost where it was chosen, but "
            f"{p.judged_figures.drop:.2f} where it was judged: it was passed over"
            for p in refused
        ),
    ]
    front = msgspec.structs.replace(front, finished=True, notes=tuple(notes))
    if holding:
        reached = True if front.goals.any else None
        return msgspec.structs.replace(front, best=holding[0].id, reached=reached)
    if not judged:
        return msgspec.structs.replace(front, reached=False if front.goals.any else None)
    nearest = min(judged, key=lambda p: sum(front.goals.misses(p.judged_figures).values()))
    missed = front.goals.misses(nearest.judged_figures)
    beside = front.goals.beside(nearest.judged_figures)
    text = f"{nearest.name} has {shown({n: beside[n] for n in missed})}"
    text += "".join(f"; {why}" for why in _why(missed, front, slowest))
    return msgspec.structs.replace(front, reached=False, nearest=nearest.id, in_the_way=text)


def _why(missed: Iterable[str], front: Front, slowest: Sequence[str]) -> Iterable[str]:
    """What keeps each goal that is missed from being reached."""
    for name in missed:
        if name == "max_latency_ms" and slowest:
            yield f"most time goes to {', '.join(slowest)}"
        fast = [p for p in front.points if name not in front.goals.misses(p.judged_figures)]
        if name != "max_drop" and fast:
            least = min(fast, key=lambda p: p.judged_figures.drop or 0.0)
            lost = f"{least.judged_figures.drop:.2f} points at least"
            yield f"what reaches the {WORDS[name]} asked for loses {lost}"
        elif name != "max_drop":
            yield f"nothing that was tried reaches the {WORDS[name]} asked for"
    if "max_drop" in missed:
        yield "more time (--budget) and more samples (--data) let more be learnt back"


def commands(
    candidate: Candidate, model: str, target: str, device: str | None, given: dict[str, Any]
) -> tuple[str, ...]:
    """The commands that make a candidate again, in the search's folder.

    Args:
        candidate: it.
        model: the original's file.
        target, device: where it runs.
        given: further options of ``tvmcomp compress``: samples and what goes with them.
    """
    folder = f"candidates/{candidate.id}"
    network, artifact = f"{folder}/model.onnx", f"{folder}/model.tvmc"
    made = []
    if candidate.recipe:
        options = [part for name, value in given.items() for part in (f"--{name}", str(value))]
        made.append(["compress", model, "-o", network, "--recipe", f"{folder}/recipe.toml",
                     "--no-measure", *options])  # fmt: skip
    quant = ["--quant", candidate.quant] if candidate.quant else []
    source = network if candidate.recipe else model
    made.append(["build", source, "-o", artifact, "--target", target, "--formats", "asked",
                 *quant])  # fmt: skip
    made.append(["bench", artifact, *(["--device", device] if device else [])])
    return tuple(shlex.join(["tvmcomp", *each]) for each in made)
