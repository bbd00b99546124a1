"""The solver beside an evolutionary optimizer, on the same tables: what they find, and how fast.

The tables are a chain of convolutions with random costs and harms; what is wanted is the least time
for a given harm. The optimizer (scipy's differential evolution, whole numbers) draws a level for
each group and a format for each unit, and what harms too much is penalized.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from scipy.optimize import differential_evolution

from benchmarks.search.made_tables import FORMATS, made_tables
from tvmcomp.search.solve import HARM, Cost, solve
from tvmcomp.search.tables import Choice, Tables

_COSTS: dict[str, Cost] = {"time": lambda config: config.seconds}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    parser.add_argument("--units", type=int, nargs="+", default=[8, 20, 50], help="[8 20 50]")
    parser.add_argument("--harm", type=float, default=0.05, help="[%(default)s]")
    parser.add_argument("--seconds", type=float, default=60.0, help="of evolution [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Print a row for each size."""
    for units in args.units:
        tables = made_tables(units)
        began = time.process_time()
        exact = solve(tables, _COSTS, "time", {HARM: args.harm})
        took = time.process_time() - began
        assert exact is not None
        whole = sum(unit.configs[0].seconds for unit in tables.units)
        began = time.process_time()
        evolved, tried = _evolved(tables, args.harm, args.seconds)
        evolution = time.process_time() - began
        print(
            f"{units} units: integer program {exact.total(_COSTS['time']) / whole:.3f} of the time "
            f"in {took:.2f} s; evolution {evolved / whole:.3f} in {evolution:.1f} s, {tried} tried"
        )
    return 0


def _evolved(tables: Tables, harm: float, seconds: float) -> tuple[float, int]:
    """The least time that evolution finds, and how many choices it tried."""
    by_key = [{(c.levels, c.format): c for c in unit.configs} for unit in tables.units]
    count = len(tables.groups)

    def choice(genes: np.ndarray) -> Choice:
        whole = genes.round().astype(int)
        levels = tuple(int(each) for each in whole[:count])
        configs = tuple(
            known[tuple(levels[g] for g in unit.groups), FORMATS[int(gene)]]
            for unit, known, gene in zip(tables.units, by_key, whole[count:], strict=True)
        )
        return Choice(levels, configs)

    tried = 0

    def cost(genes: np.ndarray) -> float:
        nonlocal tried
        tried += 1
        found = choice(genes)
        over = max(0.0, found.harm(tables) / harm - 1)
        return found.total(_COSTS["time"]) * (1 + over) + over

    bounds = [(0, len(group.levels) - 1) for group in tables.groups]
    bounds += [(0, len(FORMATS) - 1)] * len(tables.units)
    found = differential_evolution(
        cost, bounds, integrality=[True] * len(bounds), seed=0, maxiter=100_000, polish=False,
        callback=_until(seconds), popsize=10, tol=0,
    )  # fmt: skip
    best = choice(found.x)
    held = best.harm(tables) <= harm
    return (best.total(_COSTS["time"]) if held else float("inf")), tried


def _until(seconds: float) -> Callable[..., bool]:
    end = time.process_time() + seconds
    return lambda *_, **__: time.process_time() > end
