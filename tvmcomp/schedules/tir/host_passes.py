"""Our own additions to TVM's last passes before code generation, for every CPU kernel."""

from __future__ import annotations

from typing import Any

from tvmcomp.schedules.tir.byte_table import byte_tables
from tvmcomp.schedules.tir.passing_nan import passing_nan
from tvmcomp.schedules.tir.stack_arrays import stack_arrays
from tvmcomp.schedules.tir.vector_math import vector_math
from tvmcomp.schedules.tir.whole_vectors import whole_vectors
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module


def register() -> None:
    """Let every compilation of this process use them."""
    tvm.tirx.register_tir_pipeline("s_tir", _pipeline)


def _pipeline() -> Any:
    from tvm.s_tir.pipeline import default_s_tir_pipeline

    lower, finalize_host, finalize_device = default_s_tir_pipeline()

    @tvm.transform.module_pass(opt_level=0)  # type: ignore[untyped-decorator]
    def passes(mod: Module, _context: Any) -> Module:
        try:
            return lower(whole_vectors(mod))
        except tvm.error.InternalError:
            # TVM fits buffers to what is read under a condition. With pairs of pixels it has been
            # seen to give one a size in terms of a loop inside of it.
            return lower(mod)

    def finalize() -> Any:
        ours = [stack_arrays, byte_tables, passing_nan, vector_math]
        return tvm.transform.Sequential([*ours, finalize_host()])

    return passes, finalize, finalize_device
