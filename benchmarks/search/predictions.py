"""Predicted beside measured latency of whole networks whose formats and channels are drawn.

The tables of costs are measured as a search does it, then networks are drawn, built and timed one
after the other; each is predicted before by what was measured till then. Nothing is rounded with
care or scored: what networks compute does not matter here.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
import numpy as np

from benchmarks.compress import networks
from tvmcomp.compress.channels.cut import cut
from tvmcomp.compress.channels.groups import Groups, find_groups
from tvmcomp.compress.cost import Compute
from tvmcomp.compress.fake_quantize.plan import plan_model
from tvmcomp.progress import NoProgress
from tvmcomp.search.candidate import ORIGINAL
from tvmcomp.search.costs import COMPUTES, Costs
from tvmcomp.search.making import Maker
from tvmcomp.search.measured_tables import borders_of, channels_left
from tvmcomp.search.operator_times import of_nodes
from tvmcomp.search.prepare import prepared
from tvmcomp.search.proposals import plain
from tvmcomp.search.tables import Choice, Config, Format, Group, Level, Tables, Unit
from tvmcomp.search.time_model import Seen, TimeModel
from tvmcomp.search.timing import Timed

#: Of the operators with weights, in int8; and whether channels are cut.
_KINDS = ((1.0, True), (0.7, False), (0.7, True), (0.0, True))


class _Network(NamedTuple):
    """What is drawn from, and all that names it."""

    groups: Groups
    tables: Tables
    levels: list[list[int]]
    weighted: dict[str, tuple[str, ...]]


class Row(msgspec.Struct, frozen=True):
    """A network that was drawn: what it was predicted to take, and what it took."""

    network: str
    int8: float
    channels: float
    predicted_ms: float
    ms: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--count", type=int, default=8, help="networks of each [%(default)s]")
    parser.add_argument("--target", default="native", help="[%(default)s]")
    parser.add_argument("--device", help="where they run [this machine]")
    parser.add_argument("--folder", type=Path, default=Path("predictions"), help="[%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Print a row for each network that was drawn, and the median error."""
    for name in args.names:
        case = networks.load(name, 16)
        maker = prepared(
            case.model, args.folder / name, case.calibration[:100], None, None, None, 0,
            args.target, args.device, NoProgress(), {"shapes": case.shapes},
        )  # fmt: skip
        rows = _drawn(name, maker, args.count, args.folder / f"{name}.json")
        errors = [abs(row.predicted_ms / row.ms - 1) for row in rows]
        print(f"{name}: median error {median(errors):.1%} of {len(rows)} networks", flush=True)
    return 0


def _drawn(name: str, maker: Maker, count: int, log: Path) -> list[Row]:
    maker.tried(ORIGINAL)  # writes its file
    int8 = maker.probed(maker.original.prepared, "int8", math.inf)
    assert int8 is not None  # there is always time for it
    network, seen = _measured(maker, {"float": maker.timed(ORIGINAL), "int8": int8})
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        choice = _choice(network, rng, *_KINDS[i % len(_KINDS)])
        predicted = TimeModel(network.tables, seen).ms(choice)
        timed = _timed(maker, network, choice)
        seen.append(_seen(network, choice, timed))
        formats = [c.format.compute == "int8" for c in choice.configs if c.memory]
        left = [g.levels[x].left / g.levels[0].left
                for g, x in zip(network.tables.groups, choice.levels, strict=True)]  # fmt: skip
        channels = float(np.mean(left)) if left else 1.0
        rows.append(Row(name, float(np.mean(formats)), channels, predicted, timed.p50_ms))
        print(
            f"{name:16} {rows[-1].int8:4.0%} in int8, {channels:4.0%} of the channels: "
            f"{predicted:8.4f} ms predicted, {timed.p50_ms:8.4f} ms, "
            f"{predicted / timed.p50_ms - 1:+6.1%}",
            flush=True,
        )
        # All that a prediction is made of, to study it without the device.
        log.write_bytes(msgspec.json.encode({"tables": network.tables, "seen": seen}))
    return rows


def _measured(maker: Maker, whole: Mapping[Compute, Timed]) -> tuple[_Network, list[Seen]]:
    model, target = maker.original.prepared, maker.times.target
    groups = find_groups(model)
    costs = Costs(groups, maker.times, whole, partial(maker.probed, deadline=math.inf))
    levels = channels_left(groups, costs.network)
    weights = {weight.node for weight in plan_model(model).weights}
    units, weighted = [], {}
    for position, unit in enumerate(costs.network.units):
        own = tuple(node for node in unit.nodes if node in weights)
        name = own[0] if own else unit.nodes[0]
        if own:
            weighted[name] = own
        configs = [
            Config(
                Format() if compute == "float" else Format("int8", 8),
                places,
                costs.seconds(
                    position, compute,
                    {g: costs.network.share(g, levels[g][p])
                     for g, p in zip(unit.groups, places, strict=True)},
                ),
                0.0, float(bool(own)), 0.0,
            )
            for places in itertools.product(*(range(len(levels[g])) for g in unit.groups))
            for compute in (COMPUTES if own else COMPUTES[:1])
        ]  # fmt: skip
        units.append(Unit(name, unit.nodes, unit.groups, tuple(configs)))
    made = tuple(
        Group(g.name, tuple(Level(left * v.width, 0.0) for left in each))
        for g, v, each in zip(groups.groups, costs.network.vectors, levels, strict=True)
    )
    tables = Tables(made, tuple(units), borders_of(groups, units, weighted, target))
    network = _Network(groups, tables, levels, weighted)
    in_float = plain(tables, lambda config: config.format.compute == "float32")
    int8 = plain(tables, lambda config: config.format.compute == "int8")
    return network, [
        _seen(network, in_float, whole["float"]),
        _seen(network, int8, whole["int8"]),
    ]


def _seen(network: _Network, choice: Choice, timed: Timed) -> Seen:
    units = tuple(of_nodes(timed.operators_ms, unit.nodes) for unit in network.tables.units)
    return Seen(choice, timed.p50_ms, units)


def _choice(network: _Network, rng: np.random.Generator, int8: float, cut_: bool) -> Choice:
    tables = network.tables
    places = tuple(int(rng.integers(len(g.levels))) if cut_ else 0 for g in tables.groups)
    configs = []
    for unit in tables.units:
        wanted = "int8" if rng.random() < int8 and unit.name in network.weighted else "float32"
        at = tuple(places[g] for g in unit.groups)
        configs.append(
            next(c for c in unit.configs if c.levels == at and c.format.compute == wanted)
        )
    return Choice(places, tuple(configs))


def _timed(maker: Maker, network: _Network, choice: Choice) -> Timed:
    """Which channels go is drawn by their order: the last of each group."""
    gone = {
        c
        for g, (group, place) in enumerate(zip(network.groups.groups, choice.levels, strict=True))
        for c in group.classes[network.levels[g][place] :]
    }
    model = cut(network.groups, gone)
    pairs = list(zip(network.tables.units, choice.configs, strict=True))
    in_float = [
        node
        for unit, config in pairs
        if config.format.compute == "float32"
        for node in network.weighted.get(unit.name, ())
    ]
    compute: Compute = "int8" if any(c.format.compute == "int8" for _, c in pairs) else "float"
    timed = maker.probed(model, compute, math.inf, in_float)
    assert timed is not None  # there is always time for it
    return timed
