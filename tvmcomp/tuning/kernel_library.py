"""A library of kernels alone, in this process, for a network that lets its kernels be replaced."""

from __future__ import annotations

import _ctypes
import ctypes
import weakref
from ctypes import byref, c_void_p
from typing import Any

from tvmcomp.runtime.native_library import NativeLibrary

#: What kernels call of the runtime: the variables that ``tvmcomp_serve`` sets, in its order.
_IMPORTS = tuple(
    f"__TVMBackend{name}" for name in ("ParallelLaunch", "AllocWorkspace", "FreeWorkspace")
)


class KernelLibrary:
    """The kernels of a file, loaded; unmapped when this is gone.

    Args:
        path: of the library: what :func:`tvmcomp.codegen.native.link.link_kernels` made.
        network: runs them, on its threads.
    """

    def __init__(self, path: str, network: NativeLibrary) -> None:
        self._loaded = ctypes.CDLL(path)
        weakref.finalize(self, _ctypes.dlclose, self._loaded._handle).atexit = False
        network.function("tvmcomp_serve")(*map(self._import, _IMPORTS))

    def _import(self, name: str) -> Any:
        try:
            return byref(c_void_p.in_dll(self._loaded, name))
        except ValueError:  # no kernel of it calls that
            return None

    def address(self, function: str) -> int:
        """Where a function is.

        Raises:
            AttributeError: there is none of that name.
        """
        address = ctypes.cast(getattr(self._loaded, function), c_void_p).value
        assert address is not None
        return address
