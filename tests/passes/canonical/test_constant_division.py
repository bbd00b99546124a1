"""Division by constants."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, operators, relax, run_plain, tensor, uniform

from tvmcomp.passes.canonical.constant_division import constant_division
from tvmcomp.passes.rewriter import const


def divided(divisor, dtype="float32"):
    return module(
        lambda emit, x: emit(relax.op.divide(x, const(divisor)), "y"), x=tensor((3, 4), dtype)
    )


@pytest.mark.parametrize("divisor", [np.float32(3), uniform(np.random.default_rng(0), 4) + 2])
def test_becomes_a_multiplication(divisor):
    changed = constant_division(divided(divisor))
    assert operators(changed) == ["multiply"]
    x = uniform(np.random.default_rng(1), 3, 4)
    np.testing.assert_allclose(run_plain(changed, x)[0], x / divisor, rtol=3e-7)


@pytest.mark.parametrize("divisor", [0.0, np.inf, np.nan, 1e-39, 3e38])
def test_what_has_no_reciprocal_stays(divisor):
    assert operators(constant_division(divided(np.float32(divisor)))) == ["divide"]


def test_integers_stay():
    assert operators(constant_division(divided(np.int32(3), "int32"))) == ["divide"]


@pytest.mark.parametrize(
    "rounding",
    [
        relax.op.round,
        lambda x: relax.op.floor(relax.op.add(x, relax.const(0.5))),
        lambda x: relax.op.astype(relax.op.clip(x, 0, 255), "uint8"),
        lambda x: relax.op.round(relax.op.divide(relax.op.ones_like(x), x)),
    ],
)
def test_what_is_rounded_later_is_divided_as_it_stands(rounding):
    def build(emit, x):
        return emit(rounding(emit(relax.op.divide(x, const(np.float32(127.5))), "q")), "y")

    assert "multiply" not in operators(constant_division(module(build, x=(3, 4))))


def test_a_product_in_between_hides_the_last_place():
    def build(emit, x):
        scaled = emit(relax.op.divide(x, const(np.float32(3))), "q")
        product = emit(relax.op.matmul(scaled, const(uniform(np.random.default_rng(0), 4, 5))), "p")
        return emit(relax.op.round(product), "y")

    assert operators(constant_division(module(build, x=(3, 4)))) == ["multiply", "matmul", "round"]
