"""Sparse kernels on the emulated board: equal to numpy, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from schedules.anchor_cases import compiled, scheduled
from schedules.sparse.test_sparse_conv import data_of, expected, pointwise, sparse_weight

from tvmcomp import targets
from tvmcomp.codegen.toolchain import link_function
from tvmcomp.schedules.dot import float_kernel, int8_kernel
from tvmcomp.schedules.sparse.choose import choose_sparse, sparse_kernel
from tvmcomp.schedules.sparse.conv import sparse_conv
from tvmcomp.schedules.sparse.pattern import pack_blocks
from tvmcomp.tvm_import import tvm

CASES = (
    pointwise((1, 7, 7, 24), 32, (1, 1)),
    pointwise((2, 5, 9, 19), 41, (1, 1)),
    pointwise((1, 9, 6, 32), 24, (2, 2)),
    pointwise((1, 64), 40),
    pointwise((3, 5, 33), 17),
)


def kernels(name: str, dtype: str) -> tuple[Any, list[Any]]:
    """A library of all cases, and each one's arguments, result and type."""
    target = targets.load(name)
    dense = float_kernel(target) if dtype == "float32" else int8_kernel(target)
    kernel = sparse_kernel(dense, target)
    assert kernel is not None
    functions, runs = {}, []
    for i, anchor in enumerate(CASES):
        rng = np.random.default_rng(i)
        weight = sparse_weight(anchor, kernel, 0.7, rng)
        choice = choose_sparse(anchor, weight, dense, target)
        assert choice is not None
        plan = choice.plan
        packed = pack_blocks(weight, kernel, plan.vectors, plan.chains)
        func = scheduled(sparse_conv(plan), target).mod["main"]
        functions[f"case_{i}"] = func.with_attr("global_symbol", f"case_{i}")
        data = data_of(anchor, kernel, rng)
        arguments = [data, packed.values, packed.index, packed.ends]
        runs.append((arguments, expected(anchor, data, weight), kernel.acc))
    return compiled(tvm.IRModule(functions), target), runs


@pytest.mark.slow
@pytest.mark.ci
def test_chosen_geometries(board: Any, tmp_path: Path) -> None:
    """One session for all: the board waits a minute for one that is not closed yet."""
    session = tvm.rpc.connect("127.0.0.1", board.port, session_timeout=60)
    device = session.cpu(0)
    for name in ("rpi4", "rpi5", "graviton3"):
        for dtype in ("float32", "int8"):
            executable, runs = kernels(name, dtype)
            library = tmp_path / f"{name}_{dtype}.so"
            executable.export_library(str(library), fcompile=link_function(targets.load(name)))
            session.upload(str(library))
            module = session.load_module(library.name)
            for i, (arguments, wanted, acc) in enumerate(runs):
                out = tvm.runtime.tensor(np.full(wanted.shape, 77, acc), device)
                there = [tvm.runtime.tensor(np.ascontiguousarray(a), device) for a in arguments]
                module[f"case_{i}"](*there, out)
                where = f"{name}, {dtype}, {CASES[i]}"
                np.testing.assert_array_equal(out.numpy(), wanted, err_msg=where)
