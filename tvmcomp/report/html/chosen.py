"""What a search decided for each operator, and why: its choice beside its tables of cost and harm.

``table.json`` has what each operator takes and harms in every format, with all channels; the recipe
of the network that was chosen says what became of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tvmcomp.frontend.onnx.identifiers import Identifiers
from tvmcomp.report.html.document import OperatorRow

FILE = "table.json"
_MOST_BYTES = 64 << 20
#: Of noise: what is less is told as this.
_LEAST_NOISE = 1e-12


class Format(msgspec.Struct, frozen=True):
    """What a unit takes and harms in a number format, with all channels.

    Attributes:
        format: it.
        bits: of stored weights.
        us: microseconds of a run.
        harm: noise at the network's outputs, over their variance, of this alone.
        rank: of the weight; None is full.
    """

    format: str
    bits: int
    us: float
    harm: float
    rank: int | None = None


class Unit(msgspec.Struct, frozen=True):
    """An operator with weights and what goes with it: nodes of the ONNX graph."""

    name: str
    nodes: tuple[str, ...] = ()
    formats: tuple[Format, ...] = ()


class _Level(msgspec.Struct, frozen=True):
    left: int


class _Group(msgspec.Struct, frozen=True):
    name: str
    levels: tuple[_Level, ...] = ()


class Table(msgspec.Struct, frozen=True):
    """``table.json``; fields that a report doesn't know are left."""

    units: tuple[Unit, ...] = ()
    groups: tuple[_Group, ...] = ()


def read_table(folder: Path) -> Table:
    """The tables of the search in ``folder``; empty where there are none that can be read."""
    path = folder / FILE
    try:
        if path.stat().st_size > _MOST_BYTES:
            return Table()
        return msgspec.json.decode(path.read_bytes(), type=Table)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Table()


def as_chosen(
    rows: Sequence[OperatorRow], recipe: Sequence[Mapping[str, Any]], table: Table
) -> tuple[OperatorRow, ...]:
    """The rows of a network that a search chose, each with why, and its harm.

    Args:
        rows: of its artifact.
        recipe: that made it.
        table: what there was to choose from; where it is empty the rows stay as they are.
    """
    rules: Mapping[str, Any] = {}
    left: Mapping[str, Any] = {}
    quantized = False
    for step in recipe:
        if step.get("name") == "quantize":
            quantized = True
            rules = _mapping(step.get("operators"))
        if step.get("name") == "prune":
            left = _mapping(step.get("left"))
    channels = {group.name: group.levels[0].left for group in table.groups if group.levels}
    found: dict[str, _Chosen] = {}
    for unit in table.units:
        rule = _mapping(rules.get(unit.name))
        bits = rule.get("bits", 8)
        in_float = not quantized or rule.get("dtype") == "float"
        for node in (unit.name, *unit.nodes):
            words = [*_why(unit, in_float, bits)]
            if node in left and node in channels:
                words.append(f"{left[node]} of {channels[node]} channels left")
            harm = None if in_float else _decibels(unit, bits)
            found.setdefault(_identifier(node), _Chosen(in_float, "; ".join(words), harm))
    return tuple(_with(row, found.get(row.name.partition("__")[0])) for row in rows)


class _Chosen(NamedTuple):
    in_float: bool
    why: str
    decibels: float | None


def _with(row: OperatorRow, chosen: _Chosen | None) -> OperatorRow:
    """What multiplies was chosen by itself; where the build did otherwise, its reason stands."""
    if chosen is None or not row.macs or not chosen.why:
        return row
    if (row.format in ("int8", "uint8")) == chosen.in_float:
        return row
    harm = row.network_sqnr_db if chosen.decibels is None else chosen.decibels
    return msgspec.structs.replace(row, why=chosen.why, network_sqnr_db=harm)


def _why(unit: Unit, in_float: bool, bits: Any) -> Iterator[str]:
    """What a person asks of a format: what it takes, and what the other would."""
    formats = {(each.format, each.bits): each for each in unit.formats if each.rank is None}
    float32, int8 = formats.get(("float32", 32)), formats.get(("int8", 8))
    if float32 is None or int8 is None:
        return
    times = f"{float32.us:.3g} µs in float32, {int8.us:.3g} in int8, with all channels"
    if in_float:
        noise = 100 * int8.harm
        yield (
            f"the search left it in float32: {times}; int8 would make noise of {noise:.2g}% at the "
            "outputs"
        )
        return
    stored = "" if bits == 8 else f", weights stored in {bits} bits"
    yield f"the search chose int8{stored}: {times}"


def _decibels(unit: Unit, bits: Any) -> float | None:
    """How clean the network's outputs stay with this unit alone in its format."""
    for each in unit.formats:
        if each.format == "int8" and each.bits == bits and each.rank is None:
            return -10 * math.log10(max(each.harm, _LEAST_NOISE))
    return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _identifier(node: str) -> str:
    """What an artifact calls a node of the source model."""
    return Identifiers().unique(node)
