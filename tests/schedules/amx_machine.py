"""A machine with AMX for the tests: this one, or this one with its tile instructions emulated.

Where the CPU has no AMX, ``amx_trap.c`` does each tile instruction that it refuses. The compiled
kernels are the product's own in both cases.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
from waiting import run

from tvmcomp import targets
from tvmcomp.targets import features as cpu_features

AMX_FEATURES = ("amx-bf16", "amx-int8", "amx-tile")
#: The order of the trap's counters.
COUNTED = ("ldtilecfg", "tileloadd", "tilestored", "products", "tilerelease")

_CASCADELAKE = targets.load("cascadelake")
#: What the code beside the tile instructions is made for: nothing that this machine would refuse,
#: as what Sapphire Rapids adds (AVX512_FP16). Without AVX-512, LLVM halves the vectors.
_BESIDE = _CASCADELAKE if targets.runs_here(_CASCADELAKE) is None else targets.load("x86-64-v3")
AMX_TARGET = msgspec.structs.replace(
    _CASCADELAKE,
    name="cascadelake-amx",
    cpu=_BESIDE.cpu,
    features=tuple(sorted({*_BESIDE.features, *AMX_FEATURES})),
    dot_product="amx_int8",
    bfloat16=True,
    cores=2,
    l1_kib=48,
    l2_kib=2048,
)


@functools.cache
def _trap() -> Any:
    source = Path(__file__).with_name("amx_trap.c")
    with tempfile.TemporaryDirectory(prefix="tvmcomp-amx-") as folder:
        library = Path(folder, "amx_trap.so")
        command = [sys.executable, "-m", "ziglang", "cc", "-O2", "-shared", "-fPIC"]
        run([*command, "-o", library, source, "-lm"])
        trap = ctypes.CDLL(str(library))
    trap.amx_fault.restype = ctypes.c_char_p
    trap.amx_count.restype = ctypes.c_longlong
    trap.amx_watch.argtypes = [ctypes.c_uint64, ctypes.c_uint64]
    assert trap.amx_trap() == 0
    return trap


@contextmanager
def amx(arrays: Sequence[Any] = ()) -> Iterator[dict[str, int]]:
    """Run kernels with AMX inside; fails if one misuses a tile or reads outside ``arrays``.

    Args:
        arrays: tensors; the kernels may load tiles from them, but not from just beside them.

    Yields:
        How often each of :data:`COUNTED` ran: filled in at the end; empty on a machine with AMX.
    """
    counts: dict[str, int] = {}
    if set(AMX_FEATURES) <= cpu_features.host_features():
        from tvmcomp.runtime.amx_permission import request_amx

        request_amx()
        yield counts
        return
    trap = _trap()
    trap.amx_reset()
    for array in arrays:
        view = np.from_dlpack(array)
        trap.amx_watch(view.ctypes.data, view.nbytes)
    with patch("tvmcomp.runtime.amx_permission.request_amx"):
        yield counts
    fault = trap.amx_fault().decode()
    assert not fault, fault
    counts.update({name: trap.amx_count(i) for i, name in enumerate(COUNTED)})
