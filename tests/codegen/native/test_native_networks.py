"""Networks as native libraries: the virtual machine's bits, and numpy's numbers."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from native_runs import emitted, run, run_native
from passes.relax_modules import module, tensor

from tvmcomp.passes.rewriter import const
from tvmcomp.tvm_import import tvm

op = tvm.relax.op
RNG = np.random.default_rng(0)


def drawn(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("float32")


X = drawn(4, 8)
WEIGHT, BIAS = drawn(8, 16), drawn(16)


def close(got: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_products_and_a_convolution():
    """Kernels of our own, weights, shared intermediates."""
    kernel = drawn(3, 3, 4, 8)

    def build(emit, image, rows):
        strided = {"strides": [2, 2], "padding": [1, 1, 1, 1]}
        layouts = {"data_layout": "NHWC", "kernel_layout": "OHWI"}
        convolved = emit(
            op.nn.conv2d(image, const(kernel.transpose(3, 0, 1, 2).copy()), **strided, **layouts),
            "convolved",
        )
        hidden = emit(op.nn.relu(op.add(op.matmul(rows, const(WEIGHT)), const(BIAS))), "hidden")
        back = emit(op.matmul(hidden, const(WEIGHT.T.copy())), "back")
        return [convolved, emit(op.add(back, rows), "sum"), hidden]

    image = drawn(1, 9, 9, 4)
    convolved, total, hidden = run(module(build, image=(1, 9, 9, 4), rows=(4, 8)), image, X)
    padded = np.pad(image[0], ((1, 1), (1, 1), (0, 0)))
    wanted = [
        [np.tensordot(padded[y : y + 3, x : x + 3], kernel, 3) for x in range(0, 9, 2)]
        for y in range(0, 9, 2)
    ]
    close(convolved[0], np.array(wanted))
    close(hidden, np.maximum(X @ WEIGHT + BIAS, 0))
    close(total, hidden @ WEIGHT.T + X)


def test_outputs_that_no_kernel_writes():
    """Inputs, weights, scalars, views of them and of results, one result several times."""

    def build(emit, x, y):
        double = emit(op.add(x, x), "double")
        view = emit(op.reshape(double, (8, 4)), "view")
        of_input = emit(op.reshape(y, (2, 2)), "of_input")
        return [y, const(BIAS), double, view, double, of_input, tvm.relax.const(7, "int32"), y]

    y = drawn(4)
    given = [X, y]
    outputs = run(module(build, x=(4, 8), y=(4,)), *given)
    wanted = [y, BIAS, 2 * X, (2 * X).reshape(8, 4), 2 * X, y.reshape(2, 2), np.int32(7), y]
    for got, want in zip(outputs, wanted, strict=True):
        np.testing.assert_array_equal(got, want)


def test_no_kernel_at_all():
    def build(emit, x, y):
        return [y, x]

    lowered, code = emitted(module(build, x=(2,), y=(3, 1)))
    assert (code.kernel_names, code.workspaces) == (((),), (0,))
    x, y = drawn(2), drawn(3, 1)
    got = run_native(lowered, code, [x, y])
    np.testing.assert_array_equal(got[0], y)
    np.testing.assert_array_equal(got[1], x)


def test_one_output_of_one_input():
    def build(emit, x):
        return x

    np.testing.assert_array_equal(run(module(build, x=(2, 3)), drawn(2, 3)).pop().shape, (2, 3))


def test_views_of_what_is_read_again():
    """The place of a result lives as long as any view of it."""

    def build(emit, x):
        rows = emit(op.nn.softmax(x), "rows")
        flat = emit(op.reshape(rows, (32,)), "flat")
        others = [emit(op.nn.softmax(op.multiply(x, x)), f"other{i}") for i in range(2)]
        again = emit(op.nn.softmax(op.reshape(flat, (8, 4))), "again")
        return [emit(op.matmul(again, others[0]), "product"), others[1]]

    def softmax(x):
        return np.exp(x) / np.exp(x).sum(-1, keepdims=True)

    product, other = run(module(build, x=(4, 8)), X)
    close(other, softmax(X * X))
    close(product, softmax(softmax(X).reshape(8, 4)) @ softmax(X * X))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0, 4)])
def test_empty_tensors(shape):
    def build(emit, x, y):
        return [emit(op.add(x, x), "none"), x, emit(op.add(y, y), "some")]

    y = drawn(3)
    outputs = run(module(build, x=shape, y=(3,)), np.zeros(shape, "float32"), y)
    assert [each.shape for each in outputs] == [shape, shape, (3,)]
    np.testing.assert_array_equal(outputs[2], 2 * y)


def test_scalars():
    """Tensors of no dimension, and numbers that are no weights."""

    def build(emit, x, y):
        half = tvm.relax.const(0.5, "float32")
        return [emit(op.multiply(x, half), "a"), emit(op.where(y, x, half), "b")]

    types = {"x": tensor((), "float32"), "y": tensor((), "bool")}
    for flag in (True, False):
        a, b = run(module(build, **types), np.float32(3), np.array(flag))
        assert (a, b) == (1.5, 3 if flag else 0.5)


@pytest.mark.parametrize(
    "dtype",
    ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
     "float16", "float64", "bfloat16", "float8_e4m3fn", "float8_e5m2"],
)  # fmt: skip
def test_types_of_elements(dtype):
    """Every type that a tensor can have, moved and given back as it is stored."""

    def build(emit, x):
        turned = op.reshape(x, (7, 5)) if "float8" in dtype else op.permute_dims(x, [1, 0])
        return [emit(turned, "turned"), x]

    held = getattr(ml_dtypes, dtype, None) or np.dtype(dtype)
    x = RNG.integers(0, 2, (5, 7)).astype(held)
    turned, same = run(module(build, x=tensor((5, 7), dtype)), x)
    # No kernel moves 8-bit floats: TVM can't vectorize it.
    assert turned.tobytes() == (x if "float8" in dtype else x.T.copy()).tobytes()
    assert same.tobytes() == x.tobytes()


def test_more_threads_than_rows():
    """Kernels' parallel loops, on threads that find nothing to do."""

    def build(emit, x):
        return emit(op.nn.softmax(x), "rows")

    x = drawn(1, 3000)
    (rows,) = run(module(build, x=(1, 3000)), x)
    close(rows.sum(), 1)


def test_parts_of_one_tensor():
    """Kernels that write their parts of a concat, whose whole and parts are read again."""

    def build(emit, image):
        layouts = {"data_layout": "NHWC", "kernel_layout": "OHWI"}
        parts = [
            emit(op.nn.relu(op.nn.conv2d(image, const(kernel), **layouts)), f"part{i}")
            for i, kernel in enumerate(kernels)
        ]
        whole = emit(op.concat(parts, 3), "whole")
        return [emit(op.nn.conv2d(whole, const(last), **layouts), "last"), parts[1], whole]

    kernels = [drawn(16, 1, 1, 8), drawn(32, 1, 1, 8), drawn(16, 1, 1, 8)]
    last, image = drawn(16, 1, 1, 64), drawn(1, 6, 6, 8)
    got, part, whole = run(module(build, image=(1, 6, 6, 8)), image)
    wanted = [np.maximum(image @ kernel[:, 0, 0].T, 0) for kernel in kernels]
    close(whole, np.concatenate(wanted, 3))
    close(part, wanted[1])
    np.testing.assert_allclose(got, whole @ last[:, 0, 0].T, rtol=1e-4, atol=1e-4)
