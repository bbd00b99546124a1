"""Patterns that name operators: a node's name, its ONNX operator, or a glob of either."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

import onnx

from tvmcomp.compress.fake_quantize.graph import kind_of
from tvmcomp.errors import ConfigError


def matches(pattern: str, name: str, kind: str) -> bool:
    """Whether ``pattern`` speaks of a node; names may hold brackets, so equality counts first."""
    return any(pattern == text or fnmatchcase(text, pattern) for text in (name, kind))


def matched(patterns: Iterable[str], model: onnx.ModelProto) -> set[str]:
    """The names of the nodes that any of ``patterns`` speaks of.

    Raises:
        ConfigError: one speaks of none: it is misspelled, or meant for another network.
    """
    nodes = [(node.name, kind_of(node)) for node in model.graph.node]
    found: set[str] = set()
    unmatched = []
    for pattern in patterns:
        fitting = {name for name, kind in nodes if matches(pattern, name, kind)}
        found |= fitting
        if not fitting:
            unmatched.append(pattern)
    if unmatched:
        raise ConfigError(
            f"no operator of the network matches {', '.join(map(repr, unmatched))}",
            hint="`tvmcomp inspect MODEL` lists the names.",
        )
    return found
