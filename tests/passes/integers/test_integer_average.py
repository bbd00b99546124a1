"""Averages of quantized tensors against the float operator on the same values."""

import numpy as np
import pytest
from passes.relax_modules import dequantized, module, operators, quantized, run_plain

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.passes.integers.realize import realize
from tvmcomp.qparams import activation_qparams, dequantize, quantize
from tvmcomp.tvm_import import tvm

relax = tvm.relax
PARAMS = activation_qparams(-1.0, 3.0, "uint8")
SCALE, ZERO_POINT = float(PARAMS.scale), int(PARAMS.zero_point)

POOLS = {
    "even": {"pool_size": [2, 2], "strides": [2, 2]},
    "padding not counted": {"pool_size": [3, 3], "padding": [1, 1, 1, 1]},
    "padding counted": {
        "pool_size": [3, 2],
        "padding": [1, 0, 2, 1],
        "count_include_pad": True,
    },
    "strided, padding not counted": {
        "pool_size": [3, 3],
        "strides": [2, 1],
        "padding": [0, 1, 2, 0],
    },
}


@pytest.mark.parametrize("name", POOLS)
def test_average_pool_is_summed_in_integers(name):
    def pooled(emit, x):
        return emit(relax.op.nn.avg_pool2d(x, layout="NHWC", **POOLS[name]), "pooled")

    def in_integers(emit, x):
        q = emit(quantized(x, SCALE, ZERO_POINT), "q")
        return pooled(emit, emit(dequantized(q, SCALE, ZERO_POINT), "dq"))

    x = np.random.default_rng(0).uniform(-1.2, 3.2, (2, 7, 9, 5)).astype(np.float32)
    mod = module(in_integers, x=x.shape)
    here = targets.detect()
    realized = operators(realize(mod, here))
    assert "nn.conv2d" in realized and "nn.avg_pool2d" not in realized

    rounded = dequantize(quantize(x, PARAMS), PARAMS)
    (expected,) = run_plain(module(pooled, x=x.shape), rounded)
    (actual,), _ = run_here(mod, here, [x])
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_windows_beyond_the_padding_stay_float():
    def network(emit, x):
        q = emit(quantized(x, SCALE, ZERO_POINT), "q")
        data = emit(dequantized(q, SCALE, ZERO_POINT), "dq")
        pool = relax.op.nn.avg_pool2d(data, [2, 2], [2, 2], layout="NHWC", ceil_mode=True)
        return emit(pool, "pooled")

    mod = module(network, x=(1, 7, 7, 3))
    assert "nn.avg_pool2d" in operators(realize(mod, targets.detect()))
