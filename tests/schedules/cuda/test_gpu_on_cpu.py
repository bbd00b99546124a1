"""What the tests of CUDA kernels rely on: that a GPU's forbidden things are found on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cuda_cases import matmul, random
from gpu_memory import Memory, OutOfBounds, Race, Unwritten
from gpu_on_cpu import run_on_cpu

from tvmcomp import targets
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.cuda import schedule_kernel
from tvmcomp.schedules.cuda.kernel import array, number
from tvmcomp.schedules.cuda.shared_tile import SharedTile
from tvmcomp.schedules.cuda.side import Side
from tvmcomp.tvm_import import tvm

te, tirx = tvm.te, tvm.tirx


def run_changed(change: Callable[[Any], Any]) -> None:
    """Run a product whose statements that are calls went through ``change``."""
    tensors = matmul((), 32, 32, 128, "float16", True)
    target = targets.load("h100")
    found = schedule_kernel(te.create_prim_func(tensors), target)
    assert found is not None
    body = tvm_ffi.structural_map(found[1].body, ((tirx.Evaluate, change),))
    arrays = [random(tensors[i].shape, "float16", i) for i in range(2)]
    run_on_cpu(found[1].with_body(body), target, [*arrays, np.zeros((32, 32), np.float32)])


def without(word: str) -> Callable[[Any], Any]:
    """Leave out the statements that mention ``word``."""
    nothing = tirx.Evaluate(number(0))
    return lambda statement: nothing if word in str(statement.value) else statement


def test_the_kernel_as_it_is_breaks_no_rule() -> None:
    run_changed(lambda statement: statement)


def test_a_missing_barrier_is_found() -> None:
    with pytest.raises((Race, Unwritten)):
        run_changed(without("tvm_storage_sync"))


def test_a_missing_wait_for_copies_is_found() -> None:
    with pytest.raises((Race, Unwritten)):
        run_changed(without("wait_groups_1"))


def shared(threads: int) -> Memory:
    rows = np.zeros(threads, np.int64)
    data = np.zeros((1, 64), np.uint8)
    every = np.arange(threads)
    return Memory("shared", data, rows, every, True, np.zeros(data.shape, bool))


def test_races_and_bounds() -> None:
    active, four = np.ones(2, bool), np.zeros((2, 4), np.uint8)
    memory = shared(2)
    with pytest.raises(OutOfBounds):
        memory.store(np.array([0, 61]), four, active)
    with pytest.raises(Unwritten):
        memory.load(np.array([0, 4]), 4, active)
    with pytest.raises(Race):
        memory.store(np.array([0, 2]), four, active)
    memory = shared(2)
    memory.store(np.array([0, 4]), four, active)
    with pytest.raises(Race):
        memory.load(np.array([4, 0]), 4, active)
    memory.barrier()
    memory.load(np.array([4, 4]), 4, active)
    with pytest.raises(Race):
        memory.store(np.array([8, 4]), four, active)


@pytest.mark.parametrize("nbytes", [32, 64, 128, 256])
def test_eight_lines_are_in_different_banks(nbytes: int) -> None:
    memory = array(1 << 16, "uint8", "shared", "shared.dyn")
    side = Side(tirx.const(0, "int8"), (), (), (), (), 0)
    tile = SharedTile(side, 64, nbytes, memory, 0, 1, memory)
    simplify = tvm.sym.Analyzer().simplify
    places = {}
    for row in range(64):
        for piece in range(nbytes // 16):
            place = tile.place(number(0), number(row), number(piece * 16))
            places[row, piece] = int(simplify(place))
    assert len(set(places.values())) == len(places)
    for first in range(0, 64, 8):
        for piece in range(nbytes // 16):
            banks = {places[row, piece] // 16 % 8 for row in range(first, first + 8)}
            assert len(banks) == 8
