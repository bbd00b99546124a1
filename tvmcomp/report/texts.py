"""Figures as a person reads them; what is not known is a dash."""

from __future__ import annotations

NONE = "–"
#: A change that the digits of a table don't show.
_SAME = 0.005


def ratio(was: float | None, became: float | None) -> str:
    """How many times less or more; empty where it can't be said."""
    if not was or not became:
        return ""
    if abs(was / became - 1) < _SAME:
        return "the same"
    return f"{was / became:.2f} times less" if became < was else f"{became / was:.2f} times more"


def size(count: float | None) -> str:
    """Bytes."""
    if count is None:
        return NONE
    return f"{count / 2**20:.2f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"


def ms(value: float | None) -> str:
    """Milliseconds."""
    return NONE if value is None else f"{value:.4g} ms"


def mib(value: float | None) -> str:
    """Mebibytes."""
    return NONE if value is None else f"{value:.1f} MiB"


def score(value: float | None, unit: str) -> str:
    """A score with its unit: ``%``, ``dB`` or none."""
    if value is None:
        return NONE
    return f"{value:.2f}%" if unit == "%" else f"{value:.4g} {unit}".rstrip()


def score_difference(value: float, unit: str) -> str:
    """How much more a score is: ``-0.30 points``, ``+1.20 dB``."""
    return f"{value + 0.0:+.2f} {'points' if unit == '%' else unit}".rstrip()
