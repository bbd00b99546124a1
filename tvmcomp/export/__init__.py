"""From an artifact to a folder for programs in C: ``tvmcomp.export(…)`` calls the package."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvmcomp.export.export import export
    from tvmcomp.export.network import Network


class ExportPackage(ModuleType):
    """This package, which is a function as well."""

    if TYPE_CHECKING:
        __call__ = staticmethod(export)
    else:

        def __call__(self, *arguments: Any, **options: Any) -> Network:
            """See :func:`tvmcomp.export.export.export`."""
            from tvmcomp.export.export import export

            return export(*arguments, **options)


sys.modules[__name__].__class__ = ExportPackage
