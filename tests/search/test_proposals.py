"""Which choices are tried: within goals, and as harmful as the tolerance bears."""

from __future__ import annotations

import itertools

import pytest

from benchmarks.search.made_tables import made_tables
from tvmcomp.search.bisection import Bisection
from tvmcomp.search.correct import fitted
from tvmcomp.search.goals import Goals
from tvmcomp.search.proposals import Learnt, Predictions, least_figures, plain, proposals
from tvmcomp.search.tables import Choice, Tables
from tvmcomp.search.time_model import Seen

SEED = 0


def whole(choice: Choice, tables: Tables) -> tuple[float, float]:
    """ms and bytes of a network: its int8 is slower than the tables say."""
    ms = 0.05
    for config, unit in zip(choice.configs, tables.units, strict=True):
        (seconds,) = {
            c.seconds
            for c in unit.configs
            if (c.levels, c.format) == (config.levels, config.format)
        }
        ms += 1e3 * seconds * (0.5 if config.format.compute == "int8" else 0.8)
    return ms, 20_000 + sum(c.bytes for c in choice.configs)


def calibrated(units: int = 6) -> Predictions:
    predictions = Predictions(made_tables(units, SEED))
    float_, int8 = (
        plain(predictions.tables, lambda c, bits=bits: c.format.bits == bits) for bits in (32, 8)
    )
    learn(predictions, [float_, int8])
    return predictions


def learn(predictions: Predictions, choices: list[Choice]) -> None:
    base = made_tables(len(predictions.tables.units), SEED)
    found = [(choice, *whole(choice, base)) for choice in choices]
    predictions.fit([Learnt(Seen(choice, ms), size, None) for choice, ms, size in found])


def test_predictions_come_near_what_was_measured() -> None:
    predictions = calibrated()
    tried = []
    for (proposal,) in itertools.islice(proposals(predictions, Goals()), 6):
        tried.append(proposal.choice)
        learn(predictions, tried)
    ms, size = whole(tried[-1], made_tables(6, SEED))
    assert predictions.ms(tried[-1]) == pytest.approx(ms, rel=0.1)
    assert predictions.file_bytes(tried[-1]) == pytest.approx(size, rel=0.1)


def test_nothing_measured_corrects_nothing() -> None:
    choice = plain(made_tables(3), lambda c: c.format.bits == 8)
    assert fitted([], lambda c: c.bytes).whole(choice, lambda c: c.bytes) == choice.total(
        lambda c: c.bytes
    )


def test_goals_bound_the_first_proposals() -> None:
    predictions = calibrated()
    fast = predictions.ms(plain(predictions.tables, lambda c: c.format.bits == 8)) * 0.8
    found = [p for (p,) in itertools.islice(proposals(predictions, Goals(max_latency_ms=fast)), 3)]
    assert all(predictions.ms(each.choice) <= fast for each in found)
    harms = [each.choice.harm(predictions.tables) for each in found]
    assert harms == sorted(harms)  # the tighter the margin, the more it harms


def test_the_least_that_can_be_reached() -> None:
    predictions = calibrated()
    least = least_figures(predictions)
    assert Goals(max_latency_ms=1e3).misses(least) == {}
    assert set(Goals(max_latency_ms=1e-4, max_size_bytes=1.0).misses(least)) == {
        "max_latency_ms", "max_size_bytes",
    }  # fmt: skip


@pytest.mark.parametrize("bearable", [1e-4, 0.02, 0.7])
def test_bisection_finds_the_harm_that_is_borne(bearable: float) -> None:
    bisection = Bisection("time", 1.0)
    for _ in range(20):
        harm = bisection.next
        if harm is None:
            break
        bisection.learn(harm, 0.0 if harm <= bearable else 5.0)
    assert bisection.held and bisection.held <= bearable < 1.5 * bisection.held


def test_proposals_end() -> None:
    predictions = calibrated(4)
    count = 0
    for (proposal,) in proposals(predictions, Goals(max_drop=1.0)):
        count += 1
        if proposal.bisection is not None:
            proposal.bisection.learn(proposal.harm, 100 * proposal.harm)
    assert 3 < count < 40


def test_proposals_of_a_group_are_of_different_bisections() -> None:
    group = next(proposals(calibrated(4), Goals(max_drop=1.0), at_once=2))
    assert len({proposal.bisection.aim for proposal in group if proposal.bisection}) == 2
