"""The last vector of a loop that ends inside one, under a mask."""

from __future__ import annotations

import numpy as np
import pytest

from tvmcomp import schedules, targets
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.epilogue import best_lanes
from tvmcomp.schedules.tir.masked_vectors import LANES_LEFT, has_masks
from tvmcomp.schedules.tir.whole_vectors import whole_vectors
from tvmcomp.tvm_import import tvm

te, tirx = tvm.te, tvm.tirx
HERE = targets.detect()
SKYLAKE, HASWELL = targets.load("x86-64-v4"), targets.load("x86-64-v3")
#: What TVM makes of blocks before it vectorizes.
WITHOUT_BLOCKS = tvm.transform.Sequential(
    [
        tvm.s_tir.transform.ConvertBlocksToOpaque(),
        tvm.s_tir.transform.LowerOpaqueBlock(),
        tvm.tirx.transform.FlattenBuffer(),
        tvm.tirx.transform.StmtSimplify(),
    ]
)


def cut(dtypes: tuple[str, str], shape: tuple[int, int], lanes: int, value, column=lambda j: j):
    """``result[i, j] = value(data[i, column(j)], bias[j], j)`` in vectors of ``lanes``."""
    data = te.placeholder(shape, dtypes[0], name="data")
    bias = te.placeholder(shape[1:], "int32", name="bias")

    def at(i, j):
        return value(data[i, column(j)], bias[j], j).astype(dtypes[1])

    result = te.compute(shape, at, "result")
    sch = tvm.s_tir.Schedule(te.create_prim_func([data, bias, result]))
    *_, loop = sch.get_loops("result")
    *_, lane = sch.split(loop, [None, lanes])
    sch.vectorize(lane)
    return sch.mod


def total(data, bias, _):
    return data.astype("int32") + bias


def marked(mod, target) -> int:
    """How many vectors of ``mod`` are to be put under a mask for ``target``."""
    host = tvm.target.Target(target.tvm_target_dict())
    mod = tvm.tirx.transform.BindTarget(host)(mod)
    found = []
    body = whole_vectors(WITHOUT_BLOCKS(mod))["main"].body
    tvm_ffi.structural_walk(body, (tirx.AttrStmt, found.append))
    return sum(node.attr_key == LANES_LEFT for node in found)


@pytest.mark.parametrize(
    ("value", "column", "count"),
    [
        (total, lambda j: j, 1),
        (total, lambda j: 52 - j, 0),  # No loads side by side.
        (lambda d, b, _: d.astype("int32") // b, lambda j: j, 0),  # By what is not there: by 0.
        (lambda d, b, j: tirx.if_then_else(j < 20, d.astype("int32"), b), lambda j: j, 0),
    ],
)
def test_only_what_can_be_computed_of_any_lane_is_masked(value, column, count):
    assert marked(cut(("uint8", "int32"), (3, 53), 16, value, column), SKYLAKE) == count


def test_whole_vectors_and_targets_without_masks_have_none():
    assert marked(cut(("uint8", "int32"), (3, 48), 16, total), SKYLAKE) == 0
    assert marked(cut(("uint8", "int32"), (3, 53), 8, total), HASWELL) == 0
    assert has_masks(SKYLAKE)
    assert not has_masks(HASWELL)


@pytest.mark.parametrize("seed", range(6))
def test_numbers_stay_and_nothing_is_written_beyond(seed):
    rng = np.random.default_rng(seed)
    names = ["uint8", "int8", "int32", "float32", "int16", "float64"]
    dtypes = str(rng.choice(names)), str(rng.choice(names))
    rows, columns = (int(n) for n in rng.integers(1, (4, 70)))
    assert schedules  # it registers the pass
    mod = cut(dtypes, (rows, columns), int(rng.choice([4, 8, 16])), total)
    library = tvm.compile(mod, tvm.target.Target(HERE.tvm_target_dict()))
    data = rng.integers(0, 50, (rows, columns)).astype(dtypes[0])
    bias = rng.integers(0, 50, columns).astype(np.int32)
    out = tvm.runtime.tensor(np.zeros(data.shape, dtypes[1]))
    library["main"](tvm.runtime.tensor(data), tvm.runtime.tensor(bias), out)
    np.testing.assert_array_equal(out.numpy(), (data.astype(np.int32) + bias).astype(dtypes[1]))


@pytest.mark.parametrize(
    ("extent", "with_masks", "without"),
    [(18, 16, 8), (24, 16, 8), (6, 8, 2), (12, 16, 4), (16, 16, 8), (8, 8, 8), (1, 1, 1)],
)
def test_a_loop_takes_the_fewest_instructions(extent, with_masks, without):
    assert best_lanes(extent, SKYLAKE) == with_masks
    assert best_lanes(extent, HASWELL) == without
