"""Compression: smaller ONNX models of ONNX models, and the proof of what it costs.

The package is what ``tvmcomp.compress(…)`` calls, and holds ``tvmcomp.compress.prepare(…)``. What
it defines is imported when it is first used: torch is imported in here and nowhere else.

Torch's threads are made to sleep while they wait for one another, unless ``OMP_WAIT_POLICY`` says
otherwise. As they come, they spin: where other work runs on the machine, each operator then waits
until the system has given all of them their turn, 20 times as long as it computes.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvmcomp.compress.compress import CompressResult, compress
    from tvmcomp.compress.own_loop import Prepared, prepare

# OpenMP reads it once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

#: Name -> where it is defined.
_PUBLIC = {
    "CompressResult": "tvmcomp.compress.compress",
    "Prepared": "tvmcomp.compress.own_loop",
    "prepare": "tvmcomp.compress.own_loop",
}

__all__ = ["CompressResult", "Prepared", "prepare"]


class CallablePackage(ModuleType):
    """This package, which is a function as well."""

    if TYPE_CHECKING:
        __call__ = staticmethod(compress)
        prepare = staticmethod(prepare)
    else:

        def __call__(self, *arguments: Any, **options: Any) -> CompressResult:
            """See :func:`tvmcomp.compress.compress.compress`."""
            require_packages()
            from tvmcomp.compress.compress import compress

            return compress(*arguments, **options)


def require_packages() -> None:
    """See that what compression needs beside tvmcomp is there.

    Raises:
        ToolError: it is not, with the command that installs it.
    """
    for package in ("torch", "safetensors"):
        if importlib.util.find_spec(package) is None:
            from tvmcomp.errors import ToolError

            raise ToolError(
                f"compression needs the package {package!r}, which is not installed",
                hint="Install it: pip install 'tvmcomp[compress]'",
            )


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tvmcomp.compress' has no attribute {name!r}")
    require_packages()
    return getattr(importlib.import_module(_PUBLIC[name]), name)


sys.modules[__name__].__class__ = CallablePackage
