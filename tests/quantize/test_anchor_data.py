"""An anchor is the product of its data's rows with its weight's matrices."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, relax, run_plain, uniform

from tvmcomp.passes.rewriter import const, main_bindings
from tvmcomp.quantize.anchor_data import from_matrices, row_count, rows_of, to_matrices

RNG = np.random.default_rng(0)


def check(build, weight: np.ndarray, data: np.ndarray) -> None:
    mod = module(lambda emit, x: [emit(build(x, const(weight)), "a")], x=data.shape)
    (binding,) = (b for b in main_bindings(mod) if hasattr(b.value, "args"))
    call = binding.value
    count = row_count(call, data)
    matrices = to_matrices(call, weight)
    rows = rows_of(call, data, 0.0, np.arange(count))
    result = rows @ np.swapaxes(matrices, 1, 2)  # [G, R, O]
    (wanted,) = run_plain(mod, data)
    together = np.moveaxis(result, 0, 1).reshape(wanted.shape)
    np.testing.assert_allclose(together, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(from_matrices(call, matrices), weight)
    some = np.array([0, count - 1])
    np.testing.assert_array_equal(rows_of(call, data, 0.0, some), rows[:, some])


@pytest.mark.parametrize(
    ("outputs", "inputs", "attrs"),
    [
        (5, 4, {}),
        (4, 1, {"groups": 4}),
        (8, 1, {"groups": 4}),
        (6, 2, {"groups": 2, "strides": (2, 1)}),
        (5, 4, {"dilation": (2, 1), "padding": (2, 0, 1, 1)}),
    ],
)
def test_a_convolution(outputs: int, inputs: int, attrs: dict) -> None:
    def build(x, weight):
        layout = {"data_layout": "NHWC", "kernel_layout": "OHWI"}
        return relax.op.nn.conv2d(x, weight, **{"padding": 1, **layout, **attrs})

    check(build, uniform(RNG, outputs, 3, 2, inputs), uniform(RNG, 2, 7, 6, 4))


def test_a_convolution_of_one_dimension() -> None:
    def build(x, weight):
        return relax.op.nn.conv1d(x, weight, data_layout="NWC", kernel_layout="OWI", padding=2)

    check(build, uniform(RNG, 5, 3, 4), uniform(RNG, 2, 9, 4))


def test_a_product() -> None:
    check(relax.op.matmul, uniform(RNG, 6, 5), uniform(RNG, 2, 3, 6))


def test_padding_is_what_stands_for_zero() -> None:
    layout = {"data_layout": "NHWC", "kernel_layout": "OHWI", "padding": 1}
    mod = module(
        lambda emit, x: [
            emit(relax.op.nn.conv2d(x, const(uniform(RNG, 1, 3, 3, 1)), **layout), "c")
        ],
        x=(1, 3, 3, 1),
    )
    call = main_bindings(mod)[0].value
    rows = rows_of(call, np.full((1, 3, 3, 1), 9, np.uint8), 7, np.array([0]))
    assert rows.dtype == np.uint8
    assert rows.reshape(3, 3).tolist() == [[7, 7, 7], [7, 9, 9], [7, 9, 9]]
