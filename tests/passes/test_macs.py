"""Multiply-accumulates, against counts by hand."""

from __future__ import annotations

import pytest

from tvmcomp.passes.macs import macs
from tvmcomp.recurrent import Activation, RecurrentCell, recurrent
from tvmcomp.tvm_import import tvm

relax = tvm.relax


def var(*shape: int) -> relax.Var:
    return relax.Var("x", relax.TensorType(shape, "float32"))


GRU = RecurrentCell("gru", 5, 7, 2, (False,), ((Activation("sigmoid"), Activation("tanh")),))
CASES = {
    "conv2d": (lambda: relax.op.nn.conv2d(var(2, 3, 8, 8), var(16, 3, 3, 3), padding=1),
               2 * 16 * 64 * 27),
    "depthwise": (lambda: relax.op.nn.conv2d(var(1, 8, 6, 6), var(8, 1, 3, 3), groups=8),
                  8 * 16 * 9),
    "nhwc": (lambda: relax.op.nn.conv2d(var(1, 8, 8, 3), var(16, 3, 3, 3), data_layout="NHWC",
                                        kernel_layout="OHWI"), 16 * 36 * 27),
    "conv1d": (lambda: relax.op.nn.conv1d(var(1, 4, 10), var(6, 4, 3)), 6 * 8 * 12),
    "transposed": (lambda: relax.op.nn.conv2d_transpose(var(1, 4, 5, 5), var(4, 6, 2, 2),
                                                        strides=2), 4 * 25 * 6 * 4),
    "matmul": (lambda: relax.op.matmul(var(2, 7, 5), var(5, 3)), 2 * 7 * 3 * 5),
    "gru": (lambda: recurrent(GRU, var(7 * 2, 3 * 5), var(3 * 5, 5), {}), 7 * 2 * 3 * 5 * 5),
    "add": (lambda: relax.op.add(var(4), var(4)), 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_macs(case):
    make, expected = CASES[case]
    assert macs(relax.BlockBuilder().normalize(make())) == expected
