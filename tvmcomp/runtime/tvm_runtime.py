"""Import TVM's runtime without its compiler: a third of the start-up time, half the memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def prefer_runtime_library() -> None:
    """Make the first import of TVM in this process load the runtime library alone.

    For commands that never compile. Nothing happens where TVM is imported already.
    """
    if "tvm" in sys.modules:
        return
    os.environ["TVM_USE_RUNTIME_LIB"] = "1"
    try:
        with _without_torch(), _without_compiler_types():
            import tvmcomp.tvm_import  # noqa: F401
    finally:
        # Child processes decide for themselves.
        del os.environ["TVM_USE_RUNTIME_LIB"]


@contextmanager
def _without_torch() -> Iterator[None]:
    """As in tvm_import.py, which can't be imported yet: tvm_ffi alone imports torch too."""
    hide = "torch" not in sys.modules
    if hide:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import tvm_ffi  # noqa: F401

        yield
    finally:
        if hide:
            sys.modules.pop("torch", None)


@contextmanager
def _without_compiler_types() -> Iterator[None]:
    """Keep TVM from asking the runtime library for the compiler's object types.

    It asks for 140, has 3 of them, and ignores the rest; but for the first that is missing,
    tvm_ffi reads the debug information of every loaded library, for a trace that no one sees:
    0.4 of the 0.45 s that the import takes.
    """
    from tvm_ffi import core

    original = core._object_type_key_to_index

    def runtime_types_only(type_key: str) -> int | None:
        return original(type_key) if type_key.startswith("ffi.") else None

    core._object_type_key_to_index = runtime_types_only
    try:
        yield
    finally:
        core._object_type_key_to_index = original
