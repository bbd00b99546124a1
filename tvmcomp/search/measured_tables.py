"""A network's tables, measured: costs on the device, harms on samples."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.compress.channels.cost import NetworkCost, Vectors
from tvmcomp.compress.channels.groups import Groups, find_groups
from tvmcomp.compress.channels.named_widths import named_groups
from tvmcomp.compress.channels.study import worth_of
from tvmcomp.compress.channels.units import Sizes
from tvmcomp.compress.cost import Compute
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.compress.samples import Parts
from tvmcomp.formats.model import change_seconds
from tvmcomp.progress import Progress
from tvmcomp.search.candidate import INT8, ORIGINAL
from tvmcomp.search.costs import Costs
from tvmcomp.search.harms import Harms
from tvmcomp.search.making import Maker
from tvmcomp.search.ranks import ranks
from tvmcomp.search.tables import Border, Group, Level, Tables, Unit
from tvmcomp.search.timing import Timed
from tvmcomp.search.unit_table import UnitTable
from tvmcomp.targets.description import TargetDescription

#: Shares of a group's channels that may be left.
_SHARES = (0.875, 0.75, 0.625, 0.5, 0.375, 0.25)
#: A unit has a config for each combination of levels: beyond this its groups keep their channels.
_MOST_GROUPS = 3


@dataclass(frozen=True)
class Measured:
    """What a search chooses from.

    Attributes:
        tables: them.
        weighted: unit -> its operators that hold weights.
        notes: what is not in them, and why.
    """

    tables: Tables
    weighted: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]


def measure_tables(maker: Maker, seconds: float) -> Measured:
    """Measure the tables of a network.

    Args:
        maker: of its candidates.
        seconds: that costs may take.

    Raises:
        TvmcompError: torch can't compute the network, it can't be built, or the device failed.
    """
    model, parts, folder = maker.original.prepared, maker.data.parts, maker.folder
    progress, seed, shared = maker.progress, maker.seed, folder.work("numbers")
    groups, end = find_groups(model), time.monotonic() + seconds
    costs = Costs(groups, maker.times, _whole(maker), partial(maker.probed, deadline=end))
    network = costs.network
    harms = Harms(model, parts, folder)
    step = progress.stage("measuring harm of few bits", len(harms.plan.weights))
    bits = harms.bits(step)
    crowded = _crowded(network)
    levels = channels_left(groups, network)
    found_groups = _groups(groups, network.vectors, levels, harms, parts, seed, shared, progress)
    by_rank = {}
    computes: tuple[Compute, ...] = ("int8", "float")
    notes = list(costs.notes)
    for compute in computes:
        left = end - time.monotonic()
        found = ranks(model, parts, maker.times, compute, folder, left, progress)
        if found is None:
            notes.append(f"lower ranks in {compute} were not looked at: the budget is too short")
        else:
            by_rank[compute] = found
    weights: dict[str, list[Weight]] = {}
    for weight in harms.plan.weights:
        weights.setdefault(weight.node, []).append(weight)
    sizes = Sizes(groups)
    step = progress.stage("measuring harm of integers", len(network.units))
    units, weighted = [], {}
    for position, unit in enumerate(network.units):
        own = [each for node in unit.nodes for each in weights.get(node, ())]
        name = own[0].node if own else unit.nodes[0]
        harm = harms.integers(name, {each.node for each in own}) if own else 0.0
        if own:
            weighted[name] = tuple(dict.fromkeys(each.node for each in own))
        lower = {c: found.get(name, []) for c, found in by_rank.items()} if len(own) == 1 else {}
        table = UnitTable(position, unit, own, bits, harm, costs, sizes, levels, lower)
        units.append(Unit(name, unit.nodes, unit.groups, tuple(table.configs())))
        step()
    if crowded:
        names = ", ".join(groups.groups[g].name for g in sorted(crowded)[:4])
        notes.append(
            f"{len(crowded)} groups of channels meet more than {_MOST_GROUPS - 1} others at an "
            f"operator and keep all of them: {names}"
        )
    borders = borders_of(groups, units, weighted, maker.times.target)
    return Measured(Tables(found_groups, tuple(units), borders), weighted, tuple(notes))


def _whole(maker: Maker) -> dict[Compute, Timed]:
    """The network with all channels, in float and in integers wherever it can be."""
    int8: Timed | None = maker.timed(INT8)
    operators = Artifact.load(maker.artifact(INT8)).metadata.operators
    if any(each.macs and each.dtype != "int8" for each in operators):  # they would do much harm
        int8 = maker.probed(maker.original.prepared, "int8", math.inf)
    assert int8 is not None  # there is always time for it
    return {"float": maker.timed(ORIGINAL), "int8": int8}


def borders_of(
    groups: Groups,
    units: Sequence[Unit],
    weighted: Collection[str],
    target: TargetDescription,
) -> tuple[Border, ...]:
    """The tensors between units that have a number format of their own: those with weights."""
    graph = groups.flow.graph
    unit_of = {node: i for i, unit in enumerate(units) for node in unit.nodes}
    numbers: dict[tuple[int, int], int] = {}
    for name, node in graph.producer.items():
        readers = {unit_of[each.name] for each in graph.readers.get(name, ()) if each is not None}
        giver = unit_of[node.name]
        for reader in readers - {giver}:
            if units[giver].name in weighted and units[reader].name in weighted:
                count = math.prod(graph.shape(name) or ())
                numbers[giver, reader] = numbers.get((giver, reader), 0) + count
    return tuple(Border(*pair, change_seconds(n, target)) for pair, n in numbers.items())


def _groups(
    groups: Groups,
    vectors: Sequence[Vectors],
    levels: Sequence[Sequence[int]],
    harms: Harms,
    parts: Parts,
    seed: int,
    shared: Path,
    progress: Progress,
) -> tuple[Group, ...]:
    """The groups, with the harm of each level: measured of the middle one, and from there in
    proportion to what the channels are worth."""
    open_ = any(len(each) > 1 for each in levels)
    worth = worth_of(groups, parts.fit, seed, progress, shared) if open_ else {}
    means = harms.means(groups) if open_ else {}
    step = progress.stage("measuring harm of channels", len(levels))
    found = []
    for group, each, counts in zip(groups.groups, vectors, levels, strict=True):
        order = sorted(group.classes, key=lambda c: worth.get(c, 0.0))
        made = [Level(len(order) * each.width, 0.0)]
        lost = [sum(worth.get(c, 0.0) for c in order[: len(order) - left]) for left in counts]
        if len(counts) > 1:
            middle = len(counts) // 2
            gone = order[: len(order) - counts[middle]]
            harm = harms.channels(groups, group, gone, means) / max(lost[middle], 1e-12)
            made += [
                Level(left * each.width, harm * share)
                for left, share in zip(counts[1:], lost[1:], strict=True)
            ]
        found.append(Group(group.name, tuple(made)))
        step()
    return tuple(found)


def channels_left(groups: Groups, network: NetworkCost) -> list[list[int]]:
    """Of each group, the classes that may be left, all of them first."""
    crowded, named = _crowded(network), set(named_groups(groups))
    return [
        [len(group.classes)] if g in crowded or group.name not in named else _levels(vectors)
        for g, (group, vectors) in enumerate(zip(groups.groups, network.vectors, strict=True))
    ]


def _crowded(network: NetworkCost) -> set[int]:
    """Groups that meet too many others at an operator: they keep all their channels."""
    return {g for unit in network.units if len(unit.groups) > _MOST_GROUPS for g in unit.groups}


def _levels(vectors: Vectors) -> list[int]:
    """Classes that may be left: all of them, and shares in whole vectors."""
    found = [vectors.classes]
    for share in _SHARES:
        left = max(1, round(share * vectors.whole / vectors.size)) * vectors.size
        if left < found[-1]:
            found.append(left)
    return found


def table_document(tables: Tables) -> dict[str, object]:
    """The tables as a person or a report looks at them: formats with all channels only."""
    return {
        "version": 1,
        "groups": [
            {
                "name": group.name,
                "levels": [{"left": level.left, "harm": level.harm} for level in group.levels],
            }
            for group in tables.groups
        ],
        "units": [
            {
                "name": unit.name,
                "nodes": unit.nodes,
                "formats": [
                    {
                        "format": config.format.compute,
                        "bits": config.format.bits,
                        "rank": config.format.rank,
                        "us": 1e6 * config.seconds,
                        "bytes": config.bytes,
                        "harm": config.harm,
                    }
                    for config in unit.configs
                    if not any(config.levels)
                ],
            }
            for unit in tables.units
        ],
    }
