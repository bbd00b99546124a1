"""A finished measurement of a search: a line of JSON in its folder."""

from __future__ import annotations

from typing import Any

import msgspec


class Measurement(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line.

    Attributes:
        kind: what was measured.
        of: a candidate's id, or another key.
        at: when it was finished, in UTC.
        seconds: that it took.
        found: what came of it.
        taken_from: the folder of the earlier search that it was measured in; empty: this one.
    """

    kind: str
    of: str
    at: str
    seconds: float
    found: dict[str, Any]
    taken_from: str = ""


def read_measurements(text: bytes) -> list[Measurement]:
    """The whole lines of a file.

    Raises:
        ValueError: one is damaged.
    """
    whole = text[: text.rfind(b"\n") + 1]
    try:
        return [msgspec.json.decode(line, type=Measurement) for line in whole.splitlines()]
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
