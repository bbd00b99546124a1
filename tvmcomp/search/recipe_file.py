"""A recipe as a file of ``tvmcomp compress --recipe``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any


def as_toml(recipe: Iterable[Mapping[str, Any]]) -> str:
    """A recipe as a file of ``tvmcomp compress --recipe``."""
    lines = []
    for step in recipe:
        lines += ["[[technique]]", *(f"{key} = {_value(value)}" for key, value in step.items()), ""]
    return "\n".join(lines)


def _value(value: Any) -> str:
    """In TOML, of one line: texts, numbers and flags are as in JSON."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value)
