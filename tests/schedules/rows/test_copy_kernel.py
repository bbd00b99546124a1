"""Copies of pieces, of every width, against numpy."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from tvmcomp import targets
from tvmcomp.schedules.rows.copy_kernel import Piece, copy_kernel
from tvmcomp.tvm_import import tvm

HERE = targets.detect()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("rows", [(1, 1, 1), (2, 3, 5), (1, 64, 70)])
@pytest.mark.parametrize("cores", [1, 2])
def test_pieces_arrive_and_nothing_else_is_touched(dtype, rows, cores):
    pieces = [
        Piece((0, 1, 0, 3), (0, 0, 2, 0), (*rows, 1)),
        Piece((0, 0, 0, 0), (0, 2, 0, 1), (*rows, 14)),
        Piece((0, 1, 1, 4), (0, 0, 0, 20), (*rows, 129)),
    ]
    first, *others = rows
    source = (first, others[0] + 1, others[1] + 1, 140)
    to = (first, others[0] + 2, others[1] + 2, 150)
    target = msgspec.structs.replace(HERE, cores=cores)
    func = copy_kernel(source, to, dtype, pieces, target).with_attr("global_symbol", "main")
    run = tvm.compile(tvm.IRModule({"main": func}), target=target.tvm_target_dict())
    rng = np.random.default_rng(0)
    data, before = (rng.integers(0, 200, shape).astype(dtype) for shape in (source, to))
    result = tvm.runtime.tensor(before)
    run["main"](tvm.runtime.tensor(data), result)
    expected = before.copy()
    for piece in pieces:
        there = [slice(at, at + size) for at, size in zip(piece.to, piece.shape, strict=True)]
        here = [slice(at, at + size) for at, size in zip(piece.source, piece.shape, strict=True)]
        expected[tuple(there)] = data[tuple(here)]
    np.testing.assert_array_equal(result.numpy(), expected)
