"""The best joint choice out of the tables: an integer program, solved by HiGHS (scipy).

Of each group one level, of each unit one config, and a unit's config is of the levels of its
groups:

    sum_l z[g, l] = 1        sum_c y[u, c] = 1        sum_{c of level l in g} y[u, c] = z[g, l]

A border is paid for where one of its units computes in integers and the other does not:

    d[b] >= |sum_{int8 c} y[giver, c] - sum_{int8 c} y[reader, c]|

What is minimized and what is bounded are sums over configs, and of harm over levels as well. A
choice that one technique alone could make is one of the program's, so none of those is better.
``python -m benchmarks.search optimizers`` has it beside an evolutionary optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from tvmcomp.search.tables import Choice, Config, Tables, Unit

#: A sum over the configs of a choice.
Cost: TypeAlias = Callable[[Config], float]
#: For bounds and for what is minimized: formats and groups together.
HARM = "harm"
#: Seconds that a program may take, and how near to the best is near enough.
_SECONDS, _GAP = 10.0, 1e-3


def solve(
    tables: Tables,
    costs: Mapping[str, Cost],
    minimize: str,
    limits: Mapping[str, float],
    changes: Mapping[str, float] | None = None,
) -> Choice | None:
    """The choice with the least ``minimize`` within ``limits``; None where there is none.

    Args:
        tables: what there is to choose from.
        costs: name -> what a config costs of it. :data:`HARM` needs no entry.
        minimize: the name of a cost, or :data:`HARM`.
        limits: name -> the most.
        changes: name of a cost -> what a second of a border's is of it; 0 of others.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_matrix

    units = [_unbeaten(unit, costs) for unit in tables.units]
    if not all(units):
        return None
    level_at = _starts([len(group.levels) for group in tables.groups], 0)
    config_at = _starts([len(configs) for configs in units], level_at[-1])
    border_at, count = config_at[-1], config_at[-1] + len(tables.borders)

    def sums(name: str) -> np.ndarray:
        cost: Cost = (lambda config: config.harm) if name == HARM else costs[name]
        row = np.zeros(count)
        for at, configs in zip(config_at, units, strict=False):
            row[at : at + len(configs)] = [cost(config) for config in configs]
        each = (changes or {}).get(name, 0.0)
        row[border_at:] = [each * border.seconds for border in tables.borders]
        if name == HARM:
            for at, group in zip(level_at, tables.groups, strict=False):
                row[at : at + len(group.levels)] = [level.harm for level in group.levels]
        return row

    rows: list[tuple[list[int], list[float], float]] = []
    for at, group in zip(level_at, tables.groups, strict=False):
        rows.append(([*range(at, at + len(group.levels))], [1.0] * len(group.levels), 1.0))
    for at, unit, configs in zip(config_at, tables.units, units, strict=False):
        rows.append(([*range(at, at + len(configs))], [1.0] * len(configs), 1.0))
        for place, g in enumerate(unit.groups):
            for level in range(len(tables.groups[g].levels)):
                of = [at + i for i, c in enumerate(configs) if c.levels[place] == level]
                rows.append(([*of, level_at[g] + level], [1.0] * len(of) + [-1.0], 0.0))
    places = [(r, column, value) for r, (columns, values, _) in enumerate(rows)
              for column, value in zip(columns, values, strict=True)]  # fmt: skip
    r, c, v = zip(*places, strict=True)
    equal = np.array([right for _, _, right in rows])
    constraints = [LinearConstraint(coo_matrix((v, (r, c)), (len(rows), count)), equal, equal)]
    for place, border in enumerate(tables.borders, border_at):
        differ = np.zeros(count)
        for sign, position in ((1, border.giver), (-1, border.reader)):
            for i, config in enumerate(units[position], config_at[position]):
                differ[i] = sign * (config.format.compute == "int8")
        paid = np.zeros(count)
        paid[place] = 1
        constraints.append(LinearConstraint(np.stack([differ - paid, -differ - paid]), -np.inf, 0))
    for name, most in limits.items():
        # Numbers near 1: harm may be 1e-6, bytes 1e6.
        scale = max(abs(most), 1e-30)
        constraints.append(LinearConstraint(sums(name)[None] / scale, -np.inf, most / scale))
    aim = sums(minimize)
    scale = float(np.abs(aim).max()) or 1.0
    found = milp(
        aim / scale,
        constraints=constraints,
        bounds=Bounds(0, 1),
        integrality=np.arange(count) < border_at,
        options={"time_limit": _SECONDS, "mip_rel_gap": _GAP},
    )
    if found.x is None:
        return None
    chosen = found.x > 0.5
    levels = zip(level_at, tables.groups, strict=False)
    configs_of = zip(config_at, units, strict=False)
    return Choice(
        tuple(_one(chosen, at, len(group.levels)) for at, group in levels),
        tuple(configs[_one(chosen, at, len(configs))] for at, configs in configs_of),
    )


def _unbeaten(unit: Unit, costs: Mapping[str, Cost]) -> Sequence[Config]:
    """The configs that no other of the same levels, computed in the same, is at least as good as in
    everything."""
    by_place: dict[object, list[Config]] = {}
    for config in unit.configs:
        by_place.setdefault((config.levels, config.format.compute), []).append(config)
    kept: list[Config] = []
    for alike in by_place.values():
        values = {c: (c.harm, *(cost(c) for cost in costs.values())) for c in dict.fromkeys(alike)}
        kept += [
            config
            for config, own in values.items()
            if not any(
                other != own and all(a <= b for a, b in zip(other, own, strict=True))
                for other in values.values()
            )
        ]
    return kept


def _starts(lengths: Sequence[int], first: int) -> list[int]:
    """Where each of some runs of variables begins, and where the last ends."""
    return [first, *(first + int(end) for end in np.cumsum(lengths))]


def _one(chosen: np.ndarray, at: int, length: int) -> int:
    return int(np.argmax(chosen[at : at + length]))
