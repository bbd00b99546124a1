"""Temporary arrays: small ones cost nothing, large ones come from the workspace."""

from __future__ import annotations

import numpy as np
import pytest

from tvmcomp import schedules, targets
from tvmcomp.tvm_import import tvm

te = tvm.te
HERE = targets.detect()


def reversed_rows(length, scope):
    """Each row is computed into an array first, and read backwards."""
    data = te.placeholder((6, length), "float32", name="data")
    doubled = te.compute(data.shape, lambda i, j: data[i, j] * 2.0, name="doubled")
    result = te.compute(data.shape, lambda i, j: doubled[i, length - 1 - j] + 1.0, name="result")
    sch = tvm.s_tir.Schedule(te.create_prim_func([data, result]))
    block = sch.get_sblock("doubled")
    row = sch.get_loops(sch.get_sblock("result"))[0]
    sch.compute_at(block, row)
    sch.set_scope(block, 0, scope)
    sch.parallel(row)
    assert schedules  # it registers the pass
    return tvm.compile(sch.mod, tvm.target.Target(HERE.tvm_target_dict()))


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize(("length", "on_stack"), [(8, True), (2000, True), (100_000, False)])
def test_where_arrays_live(scope, length, on_stack):
    library = reversed_rows(length, scope)
    assembly = library.mod.inspect_source("asm")
    assert ("TVMBackendAllocWorkspace" not in assembly) == on_stack
    x = np.random.default_rng(0).standard_normal((6, length)).astype(np.float32)
    out = tvm.runtime.tensor(np.zeros_like(x))
    library["main"](tvm.runtime.tensor(x), out)
    np.testing.assert_allclose(out.numpy(), x[:, ::-1] * 2 + 1, rtol=1e-6)
