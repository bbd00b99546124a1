"""What a search is to reach: points that may be lost, latency, size, memory; any subset of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from tvmcomp.errors import ConfigError

_SIZES = {
    "": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30,
}  # fmt: skip
_TIMES = {"": 1.0, "US": 1e-3, "MS": 1.0, "S": 1e3}
#: A drop of less is told from none by no set of samples: what a miss is measured against.
_LEAST_DROP = 0.5


class Goals(msgspec.Struct, frozen=True):
    """Upper bounds; None is none.

    Attributes:
        max_drop: points that the score may lose.
        max_latency_ms: median latency on the device.
        max_size_bytes: of the artifact's file.
        max_memory_bytes: largest resident memory of the process that runs it.
    """

    max_drop: float | None = None
    max_latency_ms: float | None = None
    max_size_bytes: float | None = None
    max_memory_bytes: float | None = None

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return any(value is not None for value in msgspec.structs.astuple(self))

    def misses(self, found: Figures) -> dict[str, float]:
        """The goals that are missed -> by how much, as a share of the goal."""
        return {name: over for name, over in self.excess(found).items() if over > 0}

    def excess(self, found: Figures) -> dict[str, float]:
        """How far above each goal a network is, as a share of it; below 0 it is reached."""
        over = {}
        for name, (value, limit) in self.beside(found).items():
            least = _LEAST_DROP if name == "max_drop" else 1e-12
            over[name] = (value - limit) / max(limit, least)
        return over

    def beside(self, found: Figures) -> dict[str, tuple[float, float]]:
        """Each goal -> what a network has, and the bound; what is not known counts as endless."""
        pairs = {
            "max_drop": (found.drop, self.max_drop),
            "max_latency_ms": (found.p50_ms, self.max_latency_ms),
            "max_size_bytes": (found.file_bytes, self.max_size_bytes),
            "max_memory_bytes": (found.memory_bytes, self.max_memory_bytes),
        }
        return {
            name: (float("inf") if value is None else value, limit)
            for name, (value, limit) in pairs.items()
            if limit is not None
        }


class Figures(msgspec.Struct, frozen=True):
    """What goals speak of, of one network; None is not known."""

    drop: float | None = None
    p50_ms: float | None = None
    file_bytes: float | None = None
    memory_bytes: float | None = None


def goals_of(
    max_drop: float | None,
    max_latency: float | str | None,
    max_size: float | str | None,
    max_memory: float | str | None,
) -> Goals:
    """Goals as people give them: ``8ms``, ``2MB``; plain numbers are ms and bytes.

    Raises:
        ConfigError: one is no such text, or can't be reached by anything.
    """
    if max_drop is not None and not 0 <= max_drop <= 100:
        raise ConfigError(f"max_drop is {max_drop!r}, not a number of points from 0 to 100")
    return Goals(
        None if max_drop is None else float(max_drop),
        _with_unit(max_latency, "max_latency", _TIMES, "8ms, 900us or 1.5s"),
        _with_unit(max_size, "max_size", _SIZES, "2MB, 800KB or 1.5MiB"),
        _with_unit(max_memory, "max_memory", _SIZES, "6MB, 800KB or 16MiB"),
    )


def _with_unit(
    value: float | str | None, name: str, units: Mapping[str, float], examples: str
) -> float | None:
    if value is None:
        return None
    found = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([a-zA-Z]*)\s*", str(value))
    try:
        number = float(found[1]) * units[found[2].upper()] if found else 0.0
    except (ValueError, KeyError):
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigError(f"{name} is {value!r}; write a figure above 0, like {examples}")
    return number


def shown(goals: Mapping[str, tuple[Any, Any]]) -> str:
    """Goals beside what a network has: ``latency 9.1 ms (8 ms asked for)``."""
    return ", ".join(
        f"{WORDS[name]} {_value(name, value)} ({_value(name, limit)} asked for)"
        for name, (value, limit) in goals.items()
    )


#: What goals are called.
WORDS = {
    "max_drop": "loss",
    "max_latency_ms": "latency",
    "max_size_bytes": "file",
    "max_memory_bytes": "memory",
}


def _value(name: str, value: float) -> str:
    if value == float("inf"):
        return "unknown"
    if name == "max_drop":
        return f"{value:.2f} points"
    return f"{value:.4g} ms" if name == "max_latency_ms" else f"{value / 1e6:.4g} MB"
