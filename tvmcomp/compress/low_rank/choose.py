"""Which operators are factored, and how far: what saves most time for its harm goes first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from tvmcomp.compress.low_rank.prospects import Candidate, Prospect

#: Node -> what it becomes; one that is not in it stays.
Choice: TypeAlias = Mapping[str, Candidate]


def descents(prospects: Sequence[Prospect]) -> Iterator[Choice]:
    """Choices, each faster than the last: one operator goes to another candidate, the one with
    the least noise for the time that it saves. What is asked for is in all of them."""
    chosen = {each.weight.node: each.candidates[0] for each in prospects if each.given}
    yield dict(chosen)
    while True:
        steps = [
            (_harm(prospect, chosen.get(prospect.weight.node), each), prospect.weight.node, each)
            for prospect in prospects
            if not prospect.given
            for each in _next(prospect, chosen.get(prospect.weight.node))
        ]
        if not steps:
            return
        _, node, candidate = min(steps, key=lambda step: step[:2])
        chosen[node] = candidate
        yield dict(chosen)


def saved(prospects: Sequence[Prospect], choice: Choice) -> float:
    """Seconds that a choice saves, by its operators' times."""
    return sum(
        each.seconds - choice[each.weight.node].seconds
        for each in prospects
        if each.weight.node in choice
    )


def _next(prospect: Prospect, now: Candidate | None) -> tuple[Candidate, ...]:
    """The candidates that are faster than the one chosen now."""
    if now is None:
        return prospect.candidates
    return tuple(each for each in prospect.candidates if each.seconds < now.seconds)


def _harm(prospect: Prospect, now: Candidate | None, then: Candidate) -> float:
    seconds = prospect.seconds if now is None else now.seconds
    noise = 0.0 if now is None else now.noise
    return (then.noise - noise) / (seconds - then.seconds)
