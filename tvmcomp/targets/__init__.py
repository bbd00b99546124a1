"""Targets: reads ``targets/*.toml`` and detects the machine this runs on."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvmcomp.targets.catalog import load, names, shipped
    from tvmcomp.targets.compatible import runs_here
    from tvmcomp.targets.description import DotProduct, TargetDescription
    from tvmcomp.targets.host import detect

#: Name -> where it is defined. Imported when first used: to run an artifact takes few of them.
_PUBLIC = {
    "DotProduct": "description",
    "TargetDescription": "description",
    "detect": "host",
    "load": "catalog",
    "names": "catalog",
    "runs_here": "compatible",
    "shipped": "catalog",
}

__all__ = ["DotProduct", "TargetDescription", "detect", "load", "names", "runs_here", "shipped"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tvmcomp.targets' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tvmcomp.targets.{_PUBLIC[name]}"), name)
