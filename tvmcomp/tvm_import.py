"""Import TVM the cheap way. Every module of ours that needs the compiler imports it through here.

Two costs of a plain ``import tvm`` are avoided (measured in the field notes of the project): torch
is imported with it (see :mod:`tvmcomp.ffi_import`), and TVMScript's decorators call
``inspect.stack()`` hundreds of times, each walking every loaded module (12 s). Two more are costs
of every build, a sixth of what lowering takes: a schedule's methods compare each argument with
Python's type hints, where C++ checks them all the same, and arrays are read an index at a time.

Running an artifact needs none of this: see :mod:`tvmcomp.runtime.tvm_runtime`. A process may run
artifacts first and import the compiler later.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tvmcomp.ffi_import import without_torch


@contextmanager
def cheap_stack_inspection() -> Iterator[None]:
    """Make ``inspect.stack()`` name the frames without looking up their source: TVM reads none."""
    original = inspect.stack

    def stack(context: int = 1) -> list[inspect.FrameInfo]:
        frames = []
        frame = sys._getframe(1)
        while frame is not None:
            code = frame.f_code
            frames.append(
                inspect.FrameInfo(frame, code.co_filename, frame.f_lineno, code.co_name, None, None)
            )
            frame = frame.f_back  # type: ignore[assignment]
        return frames

    inspect.stack = stack
    try:
        yield
    finally:
        inspect.stack = original


with without_torch():
    import tvm
    from tvm_ffi.container import Array, _ffi_api


def _unchecked_methods(kind: type) -> None:
    """Let the methods of ``kind`` be what TVM's ``type_checked`` made them of."""
    for name, method in list(vars(kind).items()):
        if hasattr(method, "__wrapped__"):
            setattr(kind, name, method.__wrapped__)


def _elements(array: Any) -> Iterator[Any]:
    """An array's elements: one call each, and no index is checked."""
    item = _ffi_api.ArrayGetItem
    return iter([item(array, index) for index in range(_ffi_api.ArraySize(array))])


if hasattr(tvm, "s_tir"):  # not where a process has only TVM's runtime
    _unchecked_methods(tvm.s_tir.Schedule)
Array.__iter__ = _elements

__all__ = ["cheap_stack_inspection", "tvm"]
