"""Q/DQ around what the plan quantizes: the module before and after."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import (
    assert_same_module,
    module,
    operators,
    relax,
    script,
    uniform,
    value_of,
)
from tvm.script import relax as R

from tvmcomp import targets
from tvmcomp.passes.integers.realize import realize
from tvmcomp.passes.rewriter import const, const_value
from tvmcomp.qparams import activation_qparams, quantize, weight_qparams
from tvmcomp.quantize.annotate import annotate
from tvmcomp.quantize.plan import plan_operators
from tvmcomp.quantize.rounded_weight import RoundedWeight

W = uniform(np.random.default_rng(0), 6, 4)
PARAMS = activation_qparams(-1.0, 3.0, "uint8")


def matmul(emit, x):
    return emit(relax.op.matmul(x, const(W)), "m")


def test_data_and_weight_of_an_anchor():
    mod = module(matmul, x=(2, 6))
    plan = plan_operators(mod)
    annotated = annotate(mod, plan, {mod["main"].params[0]: PARAMS})

    weight = weight_qparams(W, 1)
    integers = quantize(W, weight)
    s, z, ws, wz = PARAMS.scale, PARAMS.zero_point, weight.scale, weight.zero_point

    @script
    def expected(x: R.Tensor((2, 6), "float32")):
        with R.dataflow():
            x_q = R.quantize(x, R.const(s), R.const(z), axis=-1, out_dtype="uint8")
            x_dq = R.dequantize(x_q, R.const(s), R.const(z), axis=-1)
            w = R.dequantize(R.const(integers), R.const(ws), R.const(wz), axis=1)
            m = R.matmul(x_dq, w)
            R.output(m)
        return m

    assert_same_module(annotated, expected)


def test_a_tensor_with_two_readers_is_quantized_once():
    mod = module(lambda emit, x: [matmul(emit, x), matmul(emit, x)], x=(2, 6))
    annotated = annotate(mod, plan_operators(mod), {mod["main"].params[0]: PARAMS})
    assert operators(annotated).count("quantize") == 1


def test_nothing_planned_changes_nothing():
    mod = module(matmul, x=(2, 6))
    plan = plan_operators(mod, keep_float={op.name for op in plan_operators(mod)})
    assert operators(annotate(mod, plan, {})) == ["matmul"]


@pytest.mark.parametrize("biased", [True, False])
def test_given_integers_and_corrections_go_in(biased):
    """A correction becomes part of the bias that there is, or a bias of its own."""
    weight, bias = uniform(np.random.default_rng(1), 4, 3), uniform(np.random.default_rng(2), 3)

    def network(emit, x):
        product = emit(relax.op.matmul(x, const(weight)), "m")
        return [emit(relax.op.add(product, const(bias)), "b") if biased else product]

    mod = module(network, x=(2, 4))
    plan = plan_operators(mod)
    (x,) = mod["main"].params
    params = weight_qparams(weight, 1)
    codes = np.arange(12, dtype=np.int8).reshape(4, 3)
    correction = np.array([1, -2, 4], np.float32)
    result = annotate(
        mod,
        plan,
        {x: activation_qparams(-1, 1, "uint8")},
        {"m": RoundedWeight(codes, params, correction)},
    )
    np.testing.assert_array_equal(const_value(value_of(result, "m_weight").args[0]), codes)
    assert operators(result).count("add") == 1
    added = value_of(result, "b" if biased else "m_corrected")
    np.testing.assert_array_equal(
        const_value(added.args[1]), bias + correction if biased else correction
    )
    assert operators(realize(result, targets.detect())).count("add") == 0


def test_a_chain_that_reads_its_tensor_twice_becomes_a_table():
    """``x * sin(x)`` behind a pool, whose result both read."""
    layout = {"data_layout": "NHWC", "kernel_layout": "OHWI"}

    def network(emit, x):
        weight = const(uniform(np.random.default_rng(1), 4, 1, 1, 4))
        first = emit(relax.op.nn.conv2d(x, weight, **layout), "first")
        pool = emit(relax.op.nn.max_pool2d(first, (2, 2), (2, 2), layout="NHWC"), "pool")
        wave = emit(relax.op.multiply(pool, emit(relax.op.sin(pool), "sine")), "wave")
        return [emit(relax.op.nn.conv2d(wave, weight, **layout), "last")]

    mod = module(network, x=(1, 4, 4, 4))
    plan = plan_operators(mod)
    read = {tensor for operator in plan for tensor in operator.reads}
    result = annotate(mod, plan, dict.fromkeys(read, PARAMS))
    assert not {"sin", "multiply"} & set(operators(realize(result, targets.detect())))
