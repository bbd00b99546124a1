"""Dynamic quantization: the integers that come out equal the same arithmetic in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from passes.relax_modules import module, relax, uniform

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.errors import ConfigError
from tvmcomp.frontend import load_model
from tvmcomp.passes.pipeline import canonical
from tvmcomp.passes.rewriter import const
from tvmcomp.qparams import dequantize, quantize, weight_qparams
from tvmcomp.quantize.config import QuantConfig
from tvmcomp.quantize.dynamic import quantize_dynamically

HERE = targets.detect()


def rounded(data, axes):
    """``data`` on the grid of its own scales."""
    size = np.abs(data).max(axis=axes, keepdims=True)
    step = np.maximum(size * np.float32(1 / 127), np.float32(1e-30))
    return np.rint(data * (np.float32(1) / step)) * step.astype("float64")


def on_grid(weight, axis):
    params = weight_qparams(weight, axis)
    return dequantize(quantize(weight, params), params).astype("float64")


def run(mod, *inputs, **config):
    choice = quantize_dynamically(canonical(mod), QuantConfig(**config))
    dtypes = {operator.name: operator.dtype for operator in choice.operators}
    return run_here(choice.mod, HERE, inputs)[0], dtypes


@pytest.mark.parametrize("shape", [(1, 24), (7, 33), (3, 5, 16)])
def test_a_product_has_a_scale_for_each_row(shape):
    rng = np.random.default_rng(0)
    weight, bias = uniform(rng, shape[-1], 70), uniform(rng, 70)
    data = uniform(rng, *shape) * rng.uniform(0.01, 100, (*shape[:-1], 1)).astype("float32")

    def network(emit, x):
        return emit(relax.op.add(emit(relax.op.matmul(x, const(weight)), "m"), const(bias)), "y")

    (got,), dtypes = run(module(network, x=shape), data)
    want = rounded(data, (-1,)) @ on_grid(weight, 1) + bias
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-6 * np.abs(want).max())
    assert dtypes["m"] == "int8"


@pytest.mark.parametrize(("groups", "padding"), [(1, 1), (2, 0)])
def test_a_convolution_has_a_scale_for_each_sample(groups, padding):
    rng = np.random.default_rng(1)
    weight = uniform(rng, 20, 6 // groups, 3, 3)
    data = uniform(rng, 3, 6, 9, 11) * np.array([0.1, 1, 50], "float32").reshape(3, 1, 1, 1)

    def network(emit, x):
        settings = {"groups": groups, "padding": padding}
        return emit(relax.op.nn.conv2d(x, const(weight), **settings), "c")

    (got,), dtypes = run(module(network, x=data.shape), data)
    grid = (rounded(data, (1, 2, 3)), on_grid(weight, 0))
    reference = module(lambda emit, x: relax_conv(emit, x, grid[1], groups, padding), x=data.shape)
    (want,), _ = run_here(canonical(reference), HERE, [grid[0].astype("float32")])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())
    assert list(dtypes.values()).count("int8") == 1


def relax_conv(emit, x, weight, groups, padding):
    constant = const(weight.astype("float32"))
    return emit(relax.op.nn.conv2d(x, constant, groups=groups, padding=padding), "c")


def test_products_in_a_loop_that_data_ends():
    """Its body is quantized as the rest is, and the report says so."""
    rng = np.random.default_rng(5)
    inner, outer = uniform(rng, 40, 40), uniform(rng, 40, 64)
    info, make = helper.make_tensor_value_info, helper.make_node
    body = helper.make_graph(
        [make("MatMul", ["h", "inner"], ["product"], "product"),
         make("Sin", ["product"], ["next"], "sin"),
         make("Identity", ["going"], ["again"], "again")],
        "body",
        [info("i", TensorProto.INT64, []), info("going", TensorProto.BOOL, []),
         info("h", TensorProto.FLOAT, (3, 40))],
        [info("again", TensorProto.BOOL, []), info("next", TensorProto.FLOAT, (3, 40))],
    )  # fmt: skip
    graph = helper.make_graph(
        [make("Loop", ["trips", "", "x"], ["last"], "loop", body=body),
         make("MatMul", ["last", "outer"], ["y"], "behind")],
        "looping",
        [info("trips", TensorProto.INT64, []), info("x", TensorProto.FLOAT, (3, 40))],
        [info("y", TensorProto.FLOAT, (3, 64))],
        [numpy_helper.from_array(inner, "inner"), numpy_helper.from_array(outer, "outer")],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17)]
    mod = load_model(helper.make_model(graph, opset_imports=opsets, ir_version=8)).mod
    data = uniform(rng, 3, 40)
    for trips in (0, 1, 4):
        got, dtypes = run(mod, np.array(trips), data)
        want = data
        for _ in range(trips):
            want = np.sin(rounded(want, (-1,)) @ on_grid(inner, 1)).astype("float32")
        want = rounded(want, (-1,)) @ on_grid(outer, 1)
        np.testing.assert_allclose(got[0], want, rtol=1e-4, atol=1e-4)
    (name,) = (name for name, dtype in dtypes.items() if dtype == "int8" and "product" in name)
    assert list(dtypes.values()).count("int8") == 2
    _, dtypes = run(mod, np.array(1), data, keep_float=(name,))
    assert dtypes[name] == "float32"


def test_zeros_give_zeros():
    weight = uniform(np.random.default_rng(2), 40, 40)
    mod = module(lambda emit, x: emit(relax.op.matmul(x, const(weight)), "m"), x=(2, 40))
    (got,), _ = run(mod, np.zeros((2, 40), "float32"))
    assert not got.any()


def test_two_products_of_one_tensor_share_its_integers():
    rng = np.random.default_rng(3)
    left, right = uniform(rng, 40, 40), uniform(rng, 40, 64)

    def network(emit, x):
        return [emit(relax.op.matmul(x, const(w)), name) for name, w in (("a", left), ("b", right))]

    choice = quantize_dynamically(canonical(module(network, x=(4, 40))), QuantConfig())
    assert str(choice.mod).count("R.round(") == 1


def test_what_stays_float():
    rng = np.random.default_rng(4)
    wide, narrow = uniform(rng, 40, 40), uniform(rng, 40, 3)

    def network(emit, x):
        first = emit(relax.op.nn.relu(emit(relax.op.matmul(x, const(wide)), "wide")), "r")
        second = emit(relax.op.matmul(first, const(wide)), "second")
        return [second, emit(relax.op.matmul(second, const(narrow)), "narrow")]

    mod = module(network, x=(4, 40))
    _, dtypes = run(mod, uniform(rng, 4, 40), keep_float=("second",))
    assert dtypes == {"wide": "int8", "r": "float32", "second": "float32", "narrow": "float32"}
    with pytest.raises(ConfigError, match="nowhere"):
        run(mod, uniform(rng, 4, 40), keep_float=("nowhere",))
