"""What whole networks are predicted to take, by those that were seen."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.search.made_tables import made_tables
from tvmcomp.search.proposals import plain
from tvmcomp.search.tables import Border, Choice, Tables
from tvmcomp.search.time_model import Seen, TimeModel

CHANGE = 2e-4
UNITS = 6


def tables() -> Tables:
    made = made_tables(UNITS, 2)
    borders = tuple(Border(i, i + 1, CHANGE) for i in range(UNITS - 1))
    return msgspec.structs.replace(made, borders=borders)


def measured(choice: Choice, base: Tables) -> Seen:
    """A network with 0.1 ms that are no unit's, where every unit takes a factor of its own more and
    a change takes 0.4 of what the model says."""
    changes = choice.changes(base)
    units = []
    for u, config in enumerate(choice.configs):
        ms = 1e3 * config.seconds * (1 + 0.1 * u) * (0.7 if config.format.bits == 8 else 1)
        units.append(ms + sum(0.2e3 * b.seconds for b in changes if u in (b.giver, b.reader)))
    return Seen(choice, 0.1 + sum(units), tuple(units))


def choices(base: Tables) -> tuple[Choice, Choice, Choice]:
    """All in float, all in int8, and every other unit."""
    in_float = plain(base, lambda c: c.format.compute == "float32")
    int8 = plain(base, lambda c: c.format.bits == 8)
    pairs = enumerate(zip(in_float.configs, int8.configs, strict=True))
    return in_float, int8, Choice(in_float.levels, tuple(pair[u % 2] for u, pair in pairs))


def test_a_network_that_was_seen_takes_what_it_took() -> None:
    base = tables()
    for choice in choices(base)[:2]:
        seen = measured(choice, base)
        assert TimeModel(base, [seen]).ms(choice) == pytest.approx(seen.ms, rel=0.01)


def test_a_mixture_takes_what_its_units_took_and_the_changes() -> None:
    base = tables()
    in_float, int8, mixed = choices(base)
    seen = [measured(each, base) for each in (in_float, int8)]
    wanted = measured(mixed, base).ms
    changes = 0.4e3 * sum(border.seconds for border in mixed.changes(base))
    before = TimeModel(base, seen).ms(mixed)  # what changes take was not seen yet
    assert 0.98 * (wanted - changes) < before < 1.02 * wanted
    learnt = TimeModel(base, [*seen, measured(mixed, base)])
    assert learnt.ms(mixed) == pytest.approx(wanted, rel=0.02)
    assert learnt.change == pytest.approx(0.4, rel=0.1)


def test_narrower_units_are_corrected_as_the_nearest_that_was_seen() -> None:
    base = tables()
    whole = choices(base)[0]
    narrow = Choice(
        (1,) * len(base.groups),
        tuple(
            next(c for c in u.configs if set(c.levels) == {1} and c.format.bits == 32)
            for u in base.units
        ),
    )
    model = TimeModel(base, [measured(whole, base)])
    assert model.ms(narrow) == pytest.approx(measured(narrow, base).ms, rel=0.1)


def test_what_was_not_profiled_is_shared_out() -> None:
    base = tables()
    choice = choices(base)[0]
    model = TimeModel(base, [Seen(choice, 7.0)])
    assert model.ms(choice) == pytest.approx(7.0) and model.rest == pytest.approx(0)
