"""A trace fits the same kernel of any network, whatever its tensors are called."""

from __future__ import annotations

import numpy as np
import tvm_ffi

from tvmcomp.tuning.block_names import numbered_in_trace
from tvmcomp.tuning.task import module_of, normalize, workload_hash
from tvmcomp.tuning.trace import apply_trace, kernel_hash, trace_to_json
from tvmcomp.tvm_import import tvm

te, topi = tvm.te, tvm.topi


def means(name: str):
    """Means of rows and of columns, of a tensor that is called ``name`` in its network."""
    data = te.placeholder((6, 8), "float32", name=name)
    rows = topi.sum(data, axis=1)
    return te.create_prim_func([data, rows])


def cut_in_two(func):
    """As a tuner does: by the reduction's name, and then by the name of what is made of it."""
    schedule = tvm.s_tir.Schedule(tvm.IRModule({"main": func.with_attr("global_symbol", "main")}))
    name = next(iter(schedule.get_child_blocks(schedule.get_sblock("root"))))
    block = schedule.get_sblock(str(schedule.get(name).name_hint))
    *_, loop = schedule.get_loops(block)
    outer, _ = schedule.split(loop, [2, 4])
    schedule.rfactor(outer, 0)
    parts = schedule.get_sblock(f"{schedule.get(block).name_hint}_rf")
    schedule.annotate(parts, "meta_schedule.vectorize", 4)
    return schedule


def test_a_trace_of_one_network_fits_another() -> None:
    trace = trace_to_json(cut_in_two(normalize(means("first"))).trace)
    assert kernel_hash(apply_trace(trace, means("second"))) == kernel_hash(
        apply_trace(trace, means("first"))
    )


def test_an_old_trace_has_the_tensors_name() -> None:
    old = trace_to_json(cut_in_two(means("first")).trace)
    assert any("first_red_rf" in map(str, step[2]) for step in old[0])
    assert numbered_in_trace(old) != old
    new = apply_trace(old, means("second"))
    assert kernel_hash(new) == kernel_hash(cut_in_two(normalize(means("first"))))


def test_the_kernel_stays_what_it_is() -> None:
    func = means("first")
    assert workload_hash(func) == workload_hash(means("second"))
    plain = func.with_attr("global_symbol", "main").with_attr("tirx.noalias", True)
    assert tvm_ffi.structural_equal(module_of(func)["main"], plain)
    data = np.arange(48, dtype=np.float32).reshape(6, 8)
    sums = tvm.runtime.tensor(np.zeros(6, np.float32))
    tvm.compile(module_of(func), tvm.target.Target("llvm"))(tvm.runtime.tensor(data), sums)
    np.testing.assert_allclose(sums.numpy(), data.sum(axis=1))
