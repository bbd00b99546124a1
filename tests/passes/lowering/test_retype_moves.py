"""Which kernels move bfloat16's bits, and that they move them to the right place."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, relax, tvm

from tvmcomp.passes.lowering.retype_moves import moved_in_bfloat16
from tvmcomp.passes.rewriter import const

SHAPE = (1, 4, 6, 8)

MOVES = {
    "transpose": lambda x: relax.op.permute_dims(x, [0, 3, 1, 2]),
    "reshape": lambda x: relax.op.reshape(x, (6, 32)),
    "slice": lambda x: relax.op.strided_slice(x, [2], [1], [5]),
    "concatenate": lambda x: relax.op.concat([x, x], axis=1),
    "pad": lambda x: relax.op.nn.pad(x, (0, 0, 1, 2, 0, 0, 3, 0), "constant", -2.5),
    "nearest": lambda x: relax.op.image.resize2d(
        x,
        (8, 9),
        layout="NHWC",
        method="nearest_neighbor",
        coordinate_transformation_mode="asymmetric",
        rounding_method="floor",
    ),
    "gather": lambda x: relax.op.take(x, const(np.array([3, 0, 3])), axis=1),
}
COMPUTES = {
    "relu": lambda x: relax.op.nn.relu(x),
    "bilinear": lambda x: relax.op.image.resize2d(x, (8, 12), layout="NHWC", method="linear"),
    "max_pool": lambda x: relax.op.nn.max_pool2d(x, (2, 2), layout="NHWC"),
    "one_hot": lambda x: relax.op.equal(x, x),
}


def kernel(build):
    mod = relax.transform.LegalizeOps()(module(lambda emit, x: emit(build(x), "y"), x=SHAPE))
    (func,) = (f for f in mod.functions.values() if isinstance(f, tvm.tirx.PrimFunc))
    return func


def run(func, *inputs):
    out = func.params[-1]
    shape = tuple(int(dim) for dim in out.shape)
    result = tvm.runtime.tensor(np.zeros(shape, str(out.dtype)))
    compiled = tvm.compile(func.with_attr("global_symbol", "main"), tvm.target.Target("llvm"))
    compiled["main"](*(tvm.runtime.tensor(x) for x in inputs), result)
    return result.numpy()


@pytest.mark.parametrize("name", MOVES)
def test_a_move_moves_the_same_elements(name):
    func = kernel(MOVES[name])
    x = np.random.default_rng(0).integers(-128, 128, SHAPE).astype(np.float32)
    bits = (x.view(np.uint32) >> 16).astype(np.uint16)
    given = {"float32": x, "uint16": bits, "int64": np.array([3, 0, 3])}

    def result(func):
        return run(func, *(given[str(param.dtype)] for param in func.params[:-1]))

    expected, bits = result(func), result(moved_in_bfloat16(func))
    np.testing.assert_array_equal((bits.astype(np.uint32) << 16).view(np.float32), expected)


@pytest.mark.parametrize("name", COMPUTES)
def test_what_computes_is_left_alone(name):
    assert moved_in_bfloat16(kernel(COMPUTES[name])) is None
