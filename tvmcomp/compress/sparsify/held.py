"""Weights whose zeros stay: what was pruned is not learned back.

The graph itself says which, in its metadata, so that whoever trains it next knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import onnx

_KEY = "tvmcomp.zeros_stay"


def hold_zeros(model: onnx.ModelProto, names: Iterable[str]) -> None:
    """Note in ``model`` that the zeros of these initializers stay, beside those noted before."""
    known = sorted(held_zeros(model) | set(names))
    others = [entry for entry in model.metadata_props if entry.key != _KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    model.metadata_props.add(key=_KEY, value=json.dumps(known))


def held_zeros(model: onnx.ModelProto) -> frozenset[str]:
    """The initializers whose zeros stay."""
    found = [entry.value for entry in model.metadata_props if entry.key == _KEY]
    return frozenset(json.loads(found[0])) if found else frozenset()
