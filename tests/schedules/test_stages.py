"""What a stage says of the axes that it reads along."""

from __future__ import annotations

import pytest

from tvmcomp.schedules.stages import read_stages
from tvmcomp.tvm_import import tvm

te = tvm.te


@pytest.mark.parametrize(("columns", "along_depth"), [(64, False), (2, True)])
def test_a_row_times_a_matrix_runs_along_the_columns(columns, along_depth):
    row = te.placeholder((1, 33), "int8", "row")
    matrix = te.placeholder((33, columns), "int8", "matrix")
    k = te.reduce_axis((0, 33), "k")

    def product(i, j):
        return te.sum(row[i, k].astype("int32") * matrix[k, j].astype("int32"), axis=k)

    func = te.create_prim_func([row, matrix, te.compute((1, columns), product)])
    (stage,) = read_stages(tvm.s_tir.Schedule(func))
    assert (stage.contiguous is not None) == along_depth


def test_a_matrix_times_a_column_runs_along_the_rows():
    matrix = te.placeholder((20, 33), "float32", "matrix")
    column = te.placeholder((33, 1), "float32", "column")
    k = te.reduce_axis((0, 33), "k")
    result = te.compute((20, 1), lambda i, j: te.sum(matrix[i, k] * column[k, j], axis=k))
    (stage,) = read_stages(tvm.s_tir.Schedule(te.create_prim_func([matrix, column, result])))
    assert stage.contiguous is not None
