"""What operators become before a GPU's kernels are made of them: the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from passes import relax_modules
from passes.relax_modules import operators, relax, run_plain, uniform

from tvmcomp.passes.lowering.gpu_forms import gpu_forms
from tvmcomp.passes.lowering.gpu_products import gpu_products
from tvmcomp.passes.lowering.half import half_precision
from tvmcomp.passes.rewriter import const

op = relax.op


def module(build, **inputs):
    """As ``relax_modules.module``, nothing in it named."""
    return relax_modules.module(
        lambda emit, *params: build(lambda expr: emit(expr, "x"), *params), **inputs
    )


def check(mod, changed, *inputs, rtol=1e-5):
    for a, e in zip(run_plain(changed, *inputs), run_plain(mod, *inputs), strict=True):
        np.testing.assert_allclose(a, e, rtol=rtol, atol=rtol)


def integers(shape, seed):
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def test_a_constant_matrix_lies_by_column():
    weight = integers((24, 10), 0)

    def build(emit, x):
        return emit(op.matmul(emit(op.astype(x, "int8")), const(weight), out_dtype="int32"))

    mod = module(build, x=(2, 3, 24))
    changed = gpu_forms(mod)
    assert "matmul" not in operators(changed)
    check(mod, changed, np.round(uniform(np.random.default_rng(1), 2, 3, 24) * 100))


def test_depthwise_weights_have_their_channels_last():
    weight = uniform(np.random.default_rng(0), 6, 3, 3, 1)

    def build(emit, x):
        how = {"data_layout": "NHWC", "kernel_layout": "OHWI", "groups": 6, "padding": [1, 1, 1, 1]}
        return emit(op.nn.conv2d(x, const(weight), **how))

    mod = module(build, x=(1, 5, 5, 6))
    check(mod, gpu_forms(mod), uniform(np.random.default_rng(1), 1, 5, 5, 6))


def test_a_border_is_part_of_the_convolution():
    weight = integers((4, 3, 3, 8), 0)

    def build(emit, x):
        narrow = emit(op.astype(x, "int8"))
        whole = emit(op.nn.pad(narrow, [0, 0, 1, 1, 1, 0, 0, 0], pad_value=-5))
        how = {"data_layout": "NHWC", "kernel_layout": "OHWI", "out_dtype": "int32"}
        return emit(op.nn.conv2d(whole, const(weight), **how))

    mod = module(build, x=(1, 5, 5, 8))
    changed = gpu_forms(mod)
    assert "nn.pad" not in operators(changed)
    check(mod, changed, np.round(uniform(np.random.default_rng(1), 1, 5, 5, 8) * 100))


@pytest.mark.parametrize("same", [False, True])
def test_attention_reads_and_writes_through_views(same):
    def build(emit, q, k, v):
        def heads(x, axes):
            return emit(op.permute_dims(emit(op.reshape(x, (2, 7, 3, 8))), axes))

        keys = heads(q if same else k, (0, 2, 3, 1))
        scores = emit(op.matmul(heads(q, (0, 2, 1, 3)), keys))
        weights = emit(op.nn.softmax(scores, axis=-1))
        mean = emit(op.matmul(weights, heads(v, (0, 2, 1, 3))))
        return emit(op.reshape(emit(op.permute_dims(mean, (0, 2, 1, 3))), (2, 7, 24)))

    mod = module(build, q=(2, 7, 24), k=(2, 7, 24), v=(2, 7, 24))
    changed = gpu_products(half_precision(mod, "float16"))
    assert "permute_dims" not in operators(changed)
    rng = np.random.default_rng(0)
    check(mod, changed, *(uniform(rng, 2, 7, 24) for _ in range(3)), rtol=1e-2)
