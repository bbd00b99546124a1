"""Latencies beside the original's, on a machine that others use."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tvmcomp.search import timing

USUAL = 1e-3


def ratio(monkeypatch: pytest.MonkeyPatch, *turns: tuple[float, float]) -> float:
    """The ratio where rounds of turns take these seconds; the last goes on for ever."""
    rounds = iter(turns)
    last = turns[-1]

    def in_turns(_: object) -> list[tuple[float, ...]]:
        first, second = next(rounds, last)
        return [(2 * first, first), (second, 2 * second)]

    monkeypatch.setattr(timing, "time_in_turns", in_turns)
    monkeypatch.setattr(timing, "example_inputs", lambda _: {})
    monkeypatch.setattr(timing, "_PATIENCE", 0.01)
    session = SimpleNamespace(artifact=None, set_inputs=lambda _: None)
    return timing._ratio(session, session, USUAL)  # type: ignore[arg-type]


def test_one_look_where_nothing_disturbs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ratio(monkeypatch, (1.1 * USUAL, 0.5 * USUAL), (1.0, 0.0)) == pytest.approx(0.5 / 1.1)


def test_more_turns_where_the_original_was_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    disturbed, quiet = (200 * USUAL, 0.6 * USUAL), (USUAL, 0.5 * USUAL)
    assert ratio(monkeypatch, disturbed, disturbed, quiet) == pytest.approx(0.5)


def test_what_only_the_original_suffers_makes_nothing_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ratio(monkeypatch, (1000 * USUAL, 0.5 * USUAL)) == pytest.approx(0.25)


def test_a_machine_that_became_slower_slows_both(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ratio(monkeypatch, (1.8 * USUAL, 0.9 * USUAL)) == pytest.approx(0.5)
