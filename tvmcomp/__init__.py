"""tvmcomp: a hardware-aware compiler. A trained network in; a small, fast, verified module out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tvmcomp.api import build, tune
    from tvmcomp.compress import CallablePackage
    from tvmcomp.devices import connect
    from tvmcomp.export import ExportPackage
    from tvmcomp.frontend.convert import convert
    from tvmcomp.runtime.figures import bench, evaluate
    from tvmcomp.runtime.session import load

    compress: CallablePackage
    export: ExportPackage

#: Name -> where it is defined. Imported when first used: loading an artifact needs no compiler.
_PUBLIC = {
    "build": "tvmcomp.api",
    "tune": "tvmcomp.api",
    "connect": "tvmcomp.devices",
    "convert": "tvmcomp.frontend.convert",
    "load": "tvmcomp.runtime.session",
    "bench": "tvmcomp.runtime.figures",
    "evaluate": "tvmcomp.runtime.figures",
}

#: Packages that can be called.
_CALLED = ("compress", "export")

__all__ = [
    "__version__", "bench", "build", "compress", "connect", "convert", "evaluate", "export", "load",
    "tune",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _CALLED:
        return importlib.import_module(f"tvmcomp.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tvmcomp' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
