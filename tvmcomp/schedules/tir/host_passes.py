"""Our own additions to TVM's last passes before code generation, for every CPU kernel."""

from __future__ import annotations

from typing import Any

from tvmcomp.schedules.tir.byte_table import byte_tables
from tvmcomp.schedules.tir.masked_vectors import masked_vectors
from tvmcomp.schedules.tir.partition_hints import partition_hints
from tvmcomp.schedules.tir.passing_nan import passing_nan
from tvmcomp.schedules.tir.sequences import unmarked_sequences
from tvmcomp.schedules.tir.stack_arrays import stack_arrays
from tvmcomp.schedules.tir.vector_math import vector_math
from tvmcomp.schedules.tir.whole_vectors import whole_vectors
from tvmcomp.tvm_import import tvm


def register() -> None:
    """Let every compilation of this process use them."""
    tvm.tirx.register_tir_pipeline("s_tir", _pipeline)
    vectorize, partition = tvm.tirx.transform.VectorizeLoop, tvm.s_tir.transform.LoopPartition

    # TVM's pipeline has no place for a pass there. Before it, TVM fits buffers to what is read, and
    # fails where that is under a condition on a loop inside of a buffer.
    def whole_first(enable: bool = True) -> Any:
        return tvm.transform.Sequential([whole_vectors, vectorize(enable), masked_vectors])

    def hints_first() -> Any:
        return tvm.transform.Sequential([partition_hints, partition()])

    tvm.tirx.transform.VectorizeLoop = whole_first
    tvm.s_tir.transform.LoopPartition = hints_first


def _pipeline() -> Any:
    from tvm.s_tir.pipeline import default_s_tir_pipeline

    passes, finalize_host, finalize_device = default_s_tir_pipeline()

    def finalize() -> Any:
        ours = [unmarked_sequences, stack_arrays, byte_tables, passing_nan, vector_math]
        return tvm.transform.Sequential([*ours, finalize_host()])

    return passes, finalize, finalize_device
