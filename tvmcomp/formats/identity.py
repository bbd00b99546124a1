"""What tells two compiled networks apart as far as their times go: their kernels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from tvmcomp.passes.lowered import Lowered
from tvmcomp.tvm_import import tvm

_DIGITS = 16


def code_hash(lowered: Lowered) -> str:
    """Of the scheduled kernels that a network calls, and how often.

    The numbers of weights don't enter it. What kernels skip of a weight's zeros does, by shapes.
    """
    import tvm_ffi  # not above: tvm_import must be the first to import it

    hashes: dict[str, str] = {}
    for var, func in lowered.looped.functions.items():
        if isinstance(func, tvm.tirx.PrimFunc):
            plain = func.with_attr("global_symbol", "main")
            hashes[str(var.name_hint)] = str(tvm_ffi.structural_hash(plain) & (2**64 - 1))
    return _digest(f"{len(calls)} {hashes[name]}" for name, calls in lowered.computed.items())


def together(codes: Iterable[str], cores: int) -> str:
    """Of several networks that were timed in turns on so many cores."""
    return _digest([str(cores), *codes])


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(texts).encode()).hexdigest()[:_DIGITS]
