"""Count values in bins of equal width: a kernel of a few lines, compiled once a process.

numpy takes seven passes over the values for it, of which one widens them to 64 bits each.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from tvmcomp import targets
from tvmcomp.codegen.code_target import code_target, unchecked
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.tir.loops import whole
from tvmcomp.tvm_import import tvm

tirx = tvm.tirx
T = tirx.script.builder


def count_in_bins(values: np.ndarray, inverse: float, first: int, counts: np.ndarray) -> None:
    """Add to ``counts[i]`` how many of ``values`` lie in ``[first + i, first + i + 1) / inverse``.

    Args:
        values: float32, one axis, contiguous, all of them in some bin.
        inverse: of a bin's width, a power of two: to multiply by it changes no digit in float64.
        first: the index of ``counts[0]``.
        counts: int64.
    """
    arrays = (values, np.array([inverse], np.float64), np.array([first], np.int64), counts)
    _counter()(*(tvm_ffi.from_dlpack(array) for array in arrays))


@cache
def _counter() -> Any:
    with tvm.script.ir_builder.IRBuilder() as ib, T.prim_func():
        T.func_attr({"global_symbol": "count_in_bins", "tirx.noalias": True})
        sizes = [tirx.Var(name, "int64") for name in ("values_size", "counts_size")]
        values = T.arg("values", T.buffer([sizes[0]], "float32"))
        inverse = T.arg("inverse", T.buffer([whole(1)], "float64"))
        first = T.arg("first", T.buffer([whole(1)], "int64"))
        counts = T.arg("counts", T.buffer([sizes[1]], "int64"))
        with T.serial(whole(0), sizes[0]) as i:
            place = values[i].astype("float64") * inverse[0]
            towards_0 = place.astype("int64")
            below = tirx.Select(towards_0.astype("float64") > place, whole(1), whole(0))
            which = towards_0 - below - first[0]
            T.buffer_store(counts, counts[which] + whole(1), [which])
    module = tvm.IRModule({"count_in_bins": ib.get()})
    with unchecked():
        return tvm.compile(module, target=code_target(targets.detect(), False))["count_in_bins"]
