"""Tables of random costs and harms, as a measured network's would look."""

from __future__ import annotations

import itertools

import numpy as np

from tvmcomp.search.tables import Config, Format, Group, Level, Tables, Unit

FORMATS = (Format(), *(Format("int8", bits) for bits in (8, 6, 5, 4, 3)))


def made_tables(units: int, seed: int = 0, levels: int = 4) -> Tables:
    """A chain of convolutions: each reads the channels that the one before gives."""
    rng = np.random.default_rng(seed)
    groups = tuple(
        Group(
            f"conv{i}",
            tuple(
                Level(64 - 16 * level, level**2 * float(rng.lognormal(-6, 1)))
                for level in range(levels)
            ),
        )
        for i in range(units - 1)
    )
    return Tables(groups, tuple(_unit(i, units, groups, rng) for i in range(units)))


def _unit(i: int, units: int, groups: tuple[Group, ...], rng: np.random.Generator) -> Unit:
    own = tuple(g for g in (i - 1, i) if 0 <= g < units - 1)
    seconds, weights = rng.lognormal(-9, 1), rng.lognormal(9, 1)
    noise = float(rng.lognormal(-8, 1))
    configs = []
    for places in itertools.product(*(range(len(groups[g].levels)) for g in own)):
        share = float(np.prod([1 - place / 4 for place in places]))
        for format_ in FORMATS:
            integers = format_.compute == "int8"
            configs.append(
                Config(
                    format_,
                    places,
                    float(seconds * share * (0.4 if integers else 1.0)),
                    float(weights * share * format_.bits / 8),
                    float(weights * share * (1 if integers else 4)),
                    noise * 4.0 ** (8 - format_.bits) if integers else 0.0,
                )
            )
    return Unit(f"conv{i}", (f"conv{i}", f"relu{i}"), own, tuple(configs))
