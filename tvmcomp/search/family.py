"""Architectures, too: a search over networks of one task, and one front over all of them.

Every member is searched for a while, then those that have a place on the front of all for what is
left of the budget. What a network loses is told beside the member that is best as it is: so there
must be labels, which all members are judged by.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tvmcomp import arguments
from tvmcomp.compress.score import Score
from tvmcomp.errors import ConfigError
from tvmcomp.runtime.metrics import LABELLED
from tvmcomp.search.events import Event, Found, Said
from tvmcomp.search.goals import Goals, goals_of
from tvmcomp.search.outcome import Front, settled
from tvmcomp.search.points import Point, preferred, with_front
from tvmcomp.search.search import DEFAULT_BUDGET, keep_best, search

#: Of the budget, for the first look at all members.
_FIRST = 0.5


@dataclass(frozen=True)
class _Member:
    """A network of the family: its name, its file, and its samples."""

    name: str
    model: Path
    data: Any
    evaluation: Any


def search_family(
    family: str | os.PathLike[str],
    output: str | os.PathLike[str],
    data: Any,
    *,
    eval: Any,
    max_drop: float | None = None,
    max_latency: float | str | None = None,
    max_size: float | str | None = None,
    max_memory: float | str | None = None,
    budget: float | str = DEFAULT_BUDGET,
    tell: Callable[[Event], None] | None = None,
    command: str = "",
    **options: Any,
) -> Front:
    """Search over networks of one task for the one that reaches goals on a device.

    Args:
        family: a folder of ONNX files, ``NAME.onnx``.
        output: the folder of all searches, one in a folder of its name for each member.
        data, eval: as of :func:`tvmcomp.search.search.search`; a folder with ``NAME.npz`` for each
            member where their inputs differ.
        max_drop, max_latency, max_size, max_memory, budget, tell, command: as there; what is
            lost is beside the best member.
        options: others of that function.

    Raises:
        TvmcompError: something that was given does not do, or the device failed.
    """
    goals = goals_of(max_drop, max_latency, max_size, max_memory)
    seconds = arguments.duration(budget, "budget")
    path = arguments.path(output, "output")
    members = _members(arguments.path(family, "family"), data, eval)
    told = tell or (lambda event: None)
    fronts: dict[str, Front] = {}

    def look(member: _Member, share: float) -> None:
        def named(event: Event) -> None:
            told(_named(event, member.name))

        fronts[member.name] = search(
            member.model, path / member.name, member.data, eval=member.evaluation,
            max_latency=max_latency, max_size=max_size, max_memory=max_memory,
            max_drop=_left_to_lose(goals, fronts, member.name),
            budget=share, tell=named, **options,
        )  # fmt: skip
        _check_metric(fronts[member.name], member)

    for member in members:
        look(member, _FIRST * seconds / len(members))
    whole = _joined(fronts, goals, str(family), seconds)
    held = {point.name.partition(": ")[0] for point in _promising(whole)}
    again = [member for member in members if member.name in held]
    for member in again:
        spent = fronts[member.name].spent_seconds
        look(member, spent + (1 - _FIRST) * seconds / len(again))
    front = settled(_joined(fronts, goals, str(family), seconds), [])
    front = msgspec.structs.replace(front, command=command)
    keep_best(front, path)
    return front


def _members(folder: Path, data: Any, evaluation: Any) -> list[_Member]:
    models = sorted(folder.glob("*.onnx"))
    if len(models) < 2:
        raise ConfigError(
            f"holds {len(models)} ONNX files",
            where=str(folder),
            hint="Give a folder with the networks of one task, NAME.onnx each.",
        )

    def own(given: Any, name: str) -> Any:
        file = Path(given, f"{name}.npz") if isinstance(given, str | os.PathLike) else None
        return file if file is not None and file.exists() else given

    return [_Member(m.stem, m, own(data, m.stem), own(evaluation, m.stem)) for m in models]


def _check_metric(front: Front, member: _Member) -> None:
    if front.metric not in LABELLED:
        raise ConfigError(
            f"{member.name} is judged by {front.metric}, beside itself alone",
            hint="Give --eval samples with labels: all of a family are compared by those.",
        )


def _left_to_lose(goals: Goals, fronts: Mapping[str, Front], name: str) -> float | None:
    """Points that a member may lose beside itself, so that it loses no more than allowed beside the
    best; all of them before it is known how good it is."""
    if goals.max_drop is None or name not in fronts:
        return goals.max_drop
    best = max(_as_it_is(front) for front in fronts.values())
    return max(0.0, goals.max_drop - (best - _as_it_is(fronts[name])))


def _as_it_is(front: Front, judged: bool = False) -> float:
    """The score of a member as it is."""
    point = front.point(front.original)
    assert point is not None  # every search begins with it
    score = point.judged if judged and point.judged else point.chosen_by
    return score.after


def _joined(fronts: Mapping[str, Front], goals: Goals, family: str, budget: float) -> Front:
    """One front over all members."""
    best = max(fronts, key=lambda name: _as_it_is(fronts[name]))
    chosen, judged = (_as_it_is(fronts[best], each) for each in (False, True))
    points = [
        msgspec.structs.replace(
            point,
            id=f"{name}-{point.id}",
            name=f"{name}: {point.name}",
            onnx=f"{name}/{point.onnx}",
            artifact=f"{name}/{point.artifact}",
            chosen_by=_beside(point.chosen_by, chosen),
            judged=None if point.judged is None else _beside(point.judged, judged),
            commands=(f"cd {name}", *point.commands),
        )
        for name, front in fronts.items()
        for point in front.points
    ]
    return msgspec.structs.replace(
        fronts[best],
        model=family,
        goals=goals,
        budget_seconds=budget,
        spent_seconds=sum(front.spent_seconds for front in fronts.values()),
        original=f"{best}-{fronts[best].original}",
        points=tuple(with_front(points)),
        notes=tuple(f"{name}: {note}" for name, front in fronts.items() for note in front.notes),
        finished=False, reached=None, best=None, nearest=None, in_the_way=None,
    )  # fmt: skip


def _beside(score: Score, best: float) -> Score:
    """A score beside the best member's as it is, which is taken as it was measured."""
    return msgspec.structs.replace(
        score,
        before=best,
        drop=best - score.after,
        drop_low=best - score.after_high,
        drop_high=best - score.after_low,
    )


def _promising(front: Front) -> list[Point]:
    """What is worth more of the budget: points on the front of all, and the best by the goals."""
    on_front = [point for point in front.points if point.on_front]
    reaching = [point for point in on_front if not front.goals.misses(point.figures)]
    return reaching or preferred(on_front, front.goals)[:1]


def _named(event: Event, member: str) -> Event:
    """What a member's search tells, with its name."""
    if isinstance(event, Found):
        name, best = f"{member}: {event.name}", f"{member}: {event.best}"
        return msgspec.structs.replace(event, name=name, best=best)
    return Said(f"{member}: {event.text}")
