"""A loop that ends inside a vector: the other vectors have no conditions."""

from __future__ import annotations

import numpy as np
import pytest

from tvmcomp import schedules, targets
from tvmcomp.schedules.tir.whole_vectors import whole_vectors
from tvmcomp.tvm_import import tvm

T, te = tvm.script.tirx, tvm.te
#: What TVM makes of blocks before it vectorizes.
WITHOUT_BLOCKS = tvm.transform.Sequential(
    [
        tvm.s_tir.transform.ConvertBlocksToOpaque(),
        tvm.s_tir.transform.LowerOpaqueBlock(),
        tvm.tirx.transform.StmtSimplify(),
    ]
)
HERE = targets.detect()


def cut(rows: int, columns: int, lanes: int, blocks: int = 1):
    """Rows of ``columns`` numbers, doubled in vectors of ``lanes``, some of them a block."""
    data = te.placeholder((rows, columns), "float32", name="data")
    sch = tvm.s_tir.Schedule(
        te.create_prim_func([data, te.compute(data.shape, lambda i, j: data[i, j] * 2.0, "double")])
    )
    *_, column = sch.get_loops("double")
    *_, lane = sch.split(column, [None, blocks, lanes])
    sch.vectorize(lane)
    return sch.mod


@T.prim_func(s_tir=True)
def after(data: T.Buffer((3, 13), "float32"), double: T.Buffer((3, 13), "float32")):
    T.func_attr({"tirx.noalias": True})
    for i, j_0 in T.grid(3, 4):
        if j_0 * 4 + 3 < 13:
            for j_1 in T.vectorized(4):
                double[i, j_0 * 4 + j_1] = data[i, j_0 * 4 + j_1] * T.float32(2.0)
        else:
            for j_1 in T.unroll(4):
                if j_0 * 4 + j_1 < 13:
                    double[i, j_0 * 4 + j_1] = data[i, j_0 * 4 + j_1] * T.float32(2.0)


def test_the_last_vector_alone_has_conditions():
    made = whole_vectors(WITHOUT_BLOCKS(cut(3, 13, 4)))["main"]
    tvm.ir.assert_structural_equal(made, after.with_attr("global_symbol", "main"), True)


def test_whole_vectors_are_left_as_they_are():
    before = WITHOUT_BLOCKS(cut(3, 16, 4))
    tvm.ir.assert_structural_equal(whole_vectors(before), before)


@pytest.mark.parametrize("seed", range(4))
def test_numbers_stay(seed):
    rng = np.random.default_rng(seed)
    rows, columns, blocks = (int(n) for n in rng.integers(1, (4, 70, 4)))
    assert schedules  # it registers the pass
    mod = cut(rows, columns, int(rng.choice([4, 8, 16])), blocks)
    library = tvm.compile(mod, tvm.target.Target(HERE.tvm_target_dict()))
    x = rng.standard_normal((rows, columns)).astype(np.float32)
    out = tvm.runtime.tensor(np.zeros_like(x))
    library["main"](tvm.runtime.tensor(x), out)
    np.testing.assert_array_equal(out.numpy(), x * 2)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_chosen_in_some_lanes_only(seed):
    rng = np.random.default_rng(seed)
    rows, columns, more, wider = (int(n) for n in rng.integers((1, 1, 0, 0), (4, 70, 3, 20)))
    data = te.placeholder((rows, columns), "float32", name="data")

    def value(i, j):
        there = [j < columns, i < rows] if more else [j < columns]
        other = tvm.tirx.const(-3.0, "float32")
        return tvm.tirx.if_then_else(tvm.tirx.all(*there), data[i, j], other)

    padded = te.compute((rows + more, columns + wider), value, "padded")
    sch = tvm.s_tir.Schedule(te.create_prim_func([data, padded]))
    _, lane = sch.split(sch.get_loops("padded")[-1], [None, int(rng.choice([4, 8, 16]))])
    sch.vectorize(lane)
    library = tvm.compile(sch.mod, tvm.target.Target(HERE.tvm_target_dict()))
    x = rng.standard_normal((rows, columns)).astype(np.float32)
    out = tvm.runtime.tensor(np.zeros((rows + more, columns + wider), np.float32))
    library["main"](tvm.runtime.tensor(x), out)
    border = ((0, more), (0, wider))
    np.testing.assert_array_equal(out.numpy(), np.pad(x, border, constant_values=-3))
