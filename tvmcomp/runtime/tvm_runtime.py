"""TVM's runtime without its compiler: all that an artifact needs, at a fraction of the memory.

An artifact runs with :func:`runtime_library` alone; TVM's Python package is not even imported, and
the process may still import the compiler later. RPC lives in that package, so its commands import
it with :func:`prefer_runtime_library`.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tvmcomp.errors import ToolError
from tvmcomp.ffi_import import tvm_ffi, without_torch
from tvmcomp.temporary_folder import temporary_folder


@functools.cache
def runtime_library() -> ctypes.CDLL:
    """Load TVM's runtime libraries into this process, once.

    Raises:
        ToolError: TVM is not installed.
    """
    library = load_runtime_part("tvm_runtime", "RTLD_GLOBAL")
    load_runtime_part("tvm_runtime_extra")  # sort and top-k, which kernels call by name
    return library


def load_runtime_part(name: str, mode: str = "RTLD_LOCAL") -> ctypes.CDLL:
    """Load one of TVM's runtime libraries.

    Raises:
        ToolError: TVM is not installed.
        OSError, RuntimeError: the library is not there, or what it needs.
    """
    package = importlib.util.find_spec("tvm")  # finds it, does not import it
    if package is None or package.origin is None:
        raise ToolError("TVM is not installed", hint="pip install apache-tvm")
    folders = [Path(package.origin).parent / "lib"]
    library: ctypes.CDLL = tvm_ffi.libinfo.load_lib_ctypes(
        "tvm", name, mode, extra_lib_paths=folders
    )
    return library


def load_library(library: bytes) -> Any:
    """Load a shared library; no file of it is left behind. See :func:`load_library_file`.

    Raises:
        ToolError: there is no room for its file, or it can't be loaded.
    """
    with temporary_folder("load") as folder:
        path = folder / "lib.so"
        path.write_bytes(library)
        try:
            return load_library_file(path)
        except (RuntimeError, OSError) as error:
            reason = str(error).strip().splitlines()[-1].replace(f"{path} ", "")
            raise ToolError(
                f"the library can't be loaded: {reason}",
                where=str(folder.parent),
                hint="Where that folder is mounted `noexec`, set TMPDIR to another.",
            ) from None


def load_library_file(path: str | Path) -> Any:
    """Load a shared library; it is unmapped when the last thing that came from it is gone.

    That is its module, each function of it, and each virtual machine: all hold the module, which
    holds the library, and none of TVM's objects has its code or its destructor in there. Tensors
    are TVM's runtime's, and the threads of its pool have left a kernel before its call returns.
    TVM's own default keeps every library for as long as the process lives.
    """
    runtime_library()
    return tvm_ffi.load_module(str(path), keep_module_alive=False)


def prefer_runtime_library() -> None:
    """Make the first import of TVM in this process load the runtime library alone.

    For commands that never compile: the compiler can't be loaded any more. Nothing happens where
    TVM is imported already.
    """
    if "tvm" in sys.modules:
        return
    os.environ["TVM_USE_RUNTIME_LIB"] = "1"
    try:
        with without_torch(), _without_compiler_types():
            import tvmcomp.tvm_import  # noqa: F401
    finally:
        # Child processes decide for themselves.
        del os.environ["TVM_USE_RUNTIME_LIB"]
    runtime_library()


@contextmanager
def _without_compiler_types() -> Iterator[None]:
    """Keep TVM from asking the runtime library for the compiler's object types.

    It asks for 140, has 3 of them, and ignores the rest; but for the first that is missing,
    tvm_ffi reads the debug information of every loaded library, for a trace that no one sees:
    0.4 of the 0.45 s that the import takes.
    """
    core = tvm_ffi.core
    original = core._object_type_key_to_index

    def runtime_types_only(type_key: str) -> int | None:
        return original(type_key) if type_key.startswith("ffi.") else None

    core._object_type_key_to_index = runtime_types_only
    try:
        yield
    finally:
        core._object_type_key_to_index = original
