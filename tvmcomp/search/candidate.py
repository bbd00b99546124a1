"""A network that is tried: the recipe that makes it, and how it is built."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tvmcomp import arguments
from tvmcomp.search.tables import Choice, Tables


class Candidate(msgspec.Struct, frozen=True):
    """What is tried.

    Attributes:
        name: for a person.
        origin: ``by layer``, or the technique that it is of alone.
        recipe: steps of ``tvmcomp compress``; none leaves the network as it is.
        quant: what ``tvmcomp build`` is given beside; None is nothing.
        distilled: whether its last step trains it.
    """

    name: str
    origin: str
    recipe: tuple[dict[str, Any], ...] = ()
    quant: str | None = None
    distilled: bool = False

    @property
    def id(self) -> str:
        """Of what is done, whatever it is called."""
        return _digest([self.recipe, self.quant])

    @property
    def base(self) -> str:
        """Of the network before it is distilled and built: what those share that differ in no
        more."""
        return _digest([step for step in self.recipe if step["name"] != "distil"])

    @property
    def trained_seconds(self) -> float:
        """How long it may train; 0 where it does not."""
        last = self.recipe[-1] if self.distilled else {}
        return arguments.duration(last["budget"], "budget") if last else 0.0

    def distil(self, seconds: float) -> Candidate:
        """This one, trained to give what the original gives."""
        step = {"name": "distil", "budget": f"{max(1, round(seconds))}s"}
        return msgspec.structs.replace(
            self, name=f"{self.name}, distilled", recipe=(*self.recipe, step), distilled=True
        )


#: The network as it was.
ORIGINAL = Candidate("as it is", "float32 alone")
#: All in 8 bits that bears it.
INT8 = Candidate("int8", "int8 alone", ({"name": "quantize"},))


def of_choice(
    choice: Choice, tables: Tables, origin: str, nodes_of: Mapping[str, tuple[str, ...]]
) -> Candidate:
    """The candidate that makes what was chosen from tables.

    Args:
        choice: of a solver.
        tables: that it is of.
        origin: as :class:`Candidate` has it.
        nodes_of: unit -> its operators that hold weights.
    """
    steps = [
        *_prune(choice, tables),
        *_low_rank(choice, tables),
        *_quantize(choice, tables, nodes_of),
    ]
    return Candidate(", ".join(_told(choice, tables)) or "as it is", origin, tuple(steps))


def _prune(choice: Choice, tables: Tables) -> Iterator[dict[str, Any]]:
    left = {
        group.name: group.levels[level].left
        for group, level in zip(tables.groups, choice.levels, strict=True)
        if level
    }
    if left:
        yield {"name": "prune", "left": left}


def _low_rank(choice: Choice, tables: Tables) -> Iterator[dict[str, Any]]:
    chosen = zip(tables.units, choice.configs, strict=True)
    ranks = {unit.name: config.format.rank for unit, config in chosen}
    if any(ranks.values()):
        rules = {name: {"rank": rank} for name, rank in ranks.items() if rank}
        yield {"name": "low_rank", "drop": 100.0, "only": True, "operators": rules}


def _quantize(
    choice: Choice, tables: Tables, nodes_of: Mapping[str, tuple[str, ...]]
) -> Iterator[dict[str, Any]]:
    rules: dict[str, dict[str, Any]] = {}
    integers = 0
    for unit, config in zip(tables.units, choice.configs, strict=True):
        factors = [f"{unit.name}.0"] if config.format.rank else []
        for node in (*factors, *nodes_of.get(unit.name, ())):
            if config.format.compute == "float32":
                rules[node] = {"dtype": "float"}
                continue
            integers += 1
            if config.format.bits != 8:
                rules[node] = {"bits": config.format.bits}
    if integers:
        yield {"name": "quantize", "min_sqnr_db": "off", "operators": rules}


def _told(choice: Choice, tables: Tables) -> Iterator[str]:
    """``channels 62%``, ``int8 but 2 in float32``, ``4.6 bits``, ``3 of lower rank``."""
    all_ = sum(group.levels[0].left for group in tables.groups)
    left = sum(g.levels[i].left for g, i in zip(tables.groups, choice.levels, strict=True))
    if left < all_:
        yield f"{100 * left / all_:.0f}% of the channels"
    held = [config for config in choice.configs if config.memory]
    ranks = sum(config.format.rank is not None for config in held)
    if ranks:
        yield f"{ranks} of lower rank"
    formats = Counter(config.format.compute for config in held)
    if formats["int8"]:
        floats = formats["float32"]
        yield "int8" + (f" but {floats} in float32" if floats else "")
        integers = [config for config in held if config.format.compute == "int8"]
        weights = sum(config.memory for config in integers)
        bits = sum(config.format.bits * config.memory for config in integers) / max(weights, 1)
        if bits < 8:
            yield f"{bits:.1f} bits"


def _digest(what: Any) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]
