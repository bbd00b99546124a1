"""The last round of a loop is set apart in networks too, whose loops count in 64 bits."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tvmcomp import schedules, targets
from tvmcomp.tvm_import import tvm

T, te = tvm.script.tirx, tvm.te
HERE = targets.detect()


def cut(rows: int, dtype: str):
    """``rows`` numbers, doubled by six, where ``rows`` may be no multiple of six."""
    data = te.placeholder((tvm.tirx.const(rows, dtype),), "float32", name="data")
    doubled = te.compute(data.shape, lambda i: data[i] * 2.0, "double")
    sch = tvm.s_tir.Schedule(te.create_prim_func([data, doubled]))
    (row,) = sch.get_loops("double")
    outer, inner = sch.split(row, [None, 6])
    sch.unroll(inner)
    sch.annotate(outer, "pragma_loop_partition_hint", 1)
    return sch.mod


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("rows", [126, 128, 129, 131])
def test_the_other_rounds_have_no_condition(rows: int, dtype: str) -> None:
    assert schedules  # it registers the passes
    after: list[str] = []

    @tvm.instrument.pass_instrument
    class Watch:
        def run_after_pass(self, mod, info):
            if info.name == "s_tir.LoopPartition":
                after.append(mod.script())

    with tvm.transform.PassContext(instruments=[Watch()]):
        code = tvm.compile(cut(rows, dtype), tvm.target.Target(HERE.tvm_target_dict()))
    (text,) = after
    assert f"range({rows // 6})" in text
    assert not re.search(r"if [^\n]*i_0", text)
    data = np.arange(rows, dtype=np.float32)
    result = tvm.runtime.tensor(np.zeros(rows, np.float32))
    code["main"](tvm.runtime.tensor(data), result)
    np.testing.assert_array_equal(result.numpy(), 2 * data)
