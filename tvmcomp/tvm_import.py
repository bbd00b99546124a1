"""Import TVM the cheap way. Every module of ours that needs TVM imports it through here.

Two costs of a plain ``import tvm`` are avoided (measured in the field notes of the project):
``tvm_ffi`` imports torch whenever it is installed (2 to 3 s, 200 MB), and TVMScript's decorators
call ``inspect.stack()`` hundreds of times, each walking every loaded module (12 s).
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _without_torch() -> Iterator[None]:
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torch"]


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


# On x86 TVM's thread pool would use half of the cores that it sees, whatever they are, and keep to
# the number it starts with.
os.environ.setdefault("TVM_NUM_THREADS", str(len(os.sched_getaffinity(0))))

with _without_torch():
    import tvm

__all__ = ["cheap_stack_inspection", "tvm"]
