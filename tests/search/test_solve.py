"""The solver's choice agrees with itself, keeps to its limits, and no technique alone beats it."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from benchmarks.search.made_tables import made_tables
from tvmcomp.search.solve import HARM, solve
from tvmcomp.search.tables import Border, Choice, Tables

COSTS = {"time": lambda c: c.seconds, "bytes": lambda c: c.bytes}

#: Each technique alone, as what it may choose.
ALONE = {
    "int8": lambda c: not any(c.levels) and c.format.bits == 8,
    "few bits": lambda c: not any(c.levels) and c.format.compute == "int8",
    "channels": lambda c: c.format.compute == "float32",
    "nothing": lambda c: not any(c.levels) and c.format.compute == "float32",
}


def agrees(choice: Choice, tables: Tables) -> bool:
    return all(
        config in unit.configs and config.levels == tuple(choice.levels[g] for g in unit.groups)
        for unit, config in zip(tables.units, choice.configs, strict=True)
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("aim", ["time", "bytes"])
def test_no_technique_alone_is_better(seed: int, aim: str) -> None:
    tables = made_tables(8, seed)
    for limit in (0.003, 0.03, 0.3):
        joint = solve(tables, COSTS, aim, {HARM: limit})
        assert joint is not None and agrees(joint, tables)
        assert joint.harm(tables) <= limit * (1 + 1e-6)
        for name, allowed in ALONE.items():
            alone = solve(tables.only(allowed), COSTS, aim, {HARM: limit})
            if alone is not None:
                best = joint.total(COSTS[aim])
                assert best <= alone.total(COSTS[aim]) * (1 + 2e-3), name


def test_the_best_of_all_choices_of_a_small_network() -> None:
    tables = made_tables(3, 1, levels=2)
    found = solve(tables, COSTS, "time", {HARM: 0.02, "bytes": 60_000})

    def seconds() -> float:
        best = float("inf")
        for levels in itertools.product(range(2), repeat=2):
            fitting = [
                [c for c in u.configs if c.levels == tuple(levels[g] for g in u.groups)]
                for u in tables.units
            ]
            for configs in itertools.product(*fitting):
                choice = Choice(levels, configs)
                if choice.harm(tables) <= 0.02 and choice.total(COSTS["bytes"]) <= 60_000:
                    best = min(best, choice.total(COSTS["time"]))
        return best

    least = seconds()
    assert (found is None) == (least == float("inf"))
    if found is not None:
        assert found.total(COSTS["time"]) == pytest.approx(least, rel=2e-3)


def test_less_harm_where_more_time_is_allowed() -> None:
    tables = made_tables(6, 3)
    whole = sum(unit.configs[0].seconds for unit in tables.units)
    harms = []
    for share in (0.2, 0.3, 0.5, 1.0):
        choice = solve(tables, COSTS, HARM, {"time": share * whole})
        assert choice is not None
        harms.append(choice.harm(tables))
    assert harms == sorted(harms, reverse=True) and harms[-1] == 0


def test_what_no_choice_reaches_is_none() -> None:
    tables = made_tables(4)
    assert solve(tables, COSTS, HARM, {"time": 1e-9}) is None
    none: Tables = tables.only(lambda config: False)
    assert solve(none, COSTS, "time", {}) is None


def test_borders_between_formats_are_paid_for() -> None:
    free = made_tables(5, 4)
    borders = tuple(Border(i, i + 1, 1e-3) for i in range(4))
    tables = msgspec.structs.replace(free, borders=borders)
    harm = {HARM: 0.004}

    def seconds(choice: Choice) -> float:
        changes = sum(border.seconds for border in choice.changes(tables))
        return choice.total(COSTS["time"]) + changes

    unaware = solve(free, COSTS, "time", harm)
    aware = solve(tables, COSTS, "time", harm, {"time": 1.0})
    assert unaware is not None and aware is not None and unaware.changes(tables)
    assert seconds(aware) < seconds(unaware)
    limit = 0.9 * seconds(aware)
    assert solve(tables, COSTS, HARM, harm | {"time": limit}, {"time": 1.0}) is None
