"""Sparse forms in a network: the same numbers as dense, taken only where they are faster."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, relax, run_plain, uniform

from tvmcomp import targets
from tvmcomp.codegen.compile import generate
from tvmcomp.passes.lowering.sparse_form import is_sparse, sparse_notes
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.rewriter import const
from tvmcomp.tvm_import import tvm

HERE = targets.detect()
RNG = np.random.default_rng(0)


def faster(*_):
    return 3.0


def slower(*_):
    return 0.9


def sparse(*shape, share=0.8, block=16):
    """Blocks of 64-bit-wide channels at least, so that any kernel has whole ones to leave out."""
    rows, *window, columns = shape
    kept = RNG.random((-(-rows // block), -(-columns // 4))) >= share
    wide = np.repeat(np.repeat(kept, block, 0), 4, 1)[:rows, :columns]
    return uniform(RNG, *shape) * wide.reshape(rows, *(1 for _ in window), columns).astype("f")


def conv(x, kernel, **attrs):
    layouts = {"data_layout": "NHWC", "kernel_layout": "OHWI", "out_layout": "NHWC"}
    return relax.op.nn.conv2d(x, const(kernel), **layouts, **attrs)


def run(mod, *inputs, race=faster):
    lowered = lower(mod, HERE, race=race)
    vm = relax.VirtualMachine(generate(lowered, HERE), tvm.cpu())
    arrays = (*inputs, *lowered.constants)
    result = vm["main"](*(tvm.runtime.tensor(np.ascontiguousarray(a)) for a in arrays))
    results = [result] if hasattr(result, "numpy") else list(result)
    return lowered, [each.numpy() for each in results]


def check(mod, *inputs, kernels=1):
    lowered, actual = run(mod, *inputs)
    assert sum(map(is_sparse, lowered.tasks.values())) == kernels
    for a, e in zip(actual, run_plain(mod, *inputs), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-4)
    return lowered


W1 = sparse(40, 1, 1, 64)


@pytest.mark.parametrize(
    ("shape", "strides"),
    [((1, 7, 7, 64), 1), ((2, 9, 6, 64), 1), ((2, 9, 7, 64), 2), ((1, 1, 1, 64), 1)],
)
def test_a_convolution_with_bias_residual_and_activation_is_one_kernel(shape, strides):
    bias, gate = uniform(RNG, 40), uniform(RNG, 1, 1, 1, 40)

    def build(emit, x, other):
        y = emit(relax.op.add(conv(x, W1, strides=strides), const(bias)), "y")
        y = emit(relax.op.multiply(y, const(gate)), "gated")
        y = emit(relax.op.add(y, other), "sum")
        return emit(relax.op.nn.relu(y), "r")

    out = (shape[0], -(-shape[1] // strides), -(-shape[2] // strides), 40)
    mod = module(build, x=shape, other=out)
    lowered = check(mod, uniform(RNG, *shape), uniform(RNG, *out))
    assert len(lowered.tasks) == 1


def test_a_product_of_several_batches():
    weight = sparse(45, 36).T

    def build(emit, x):
        y = emit(relax.op.matmul(x, const(np.ascontiguousarray(weight))), "y")
        return emit(relax.op.nn.gelu(y), "g")

    check(module(build, x=(2, 5, 36)), uniform(RNG, 2, 5, 36))


def test_what_a_window_reads_with_a_border_a_sparse_kernel_reads_without():
    """Both read one tensor: the border may not lie between the rows that the sparse kernel reads
    as one run."""
    first, window = uniform(RNG, 64, 1, 1, 5), uniform(RNG, 8, 3, 3, 64)

    def build(emit, x):
        a = emit(relax.op.nn.relu(emit(conv(x, first), "a")), "r")
        b = emit(conv(a, window, padding=1), "b")
        return emit(relax.op.concat([b, emit(conv(a, W1), "c")], 3), "out")

    check(module(build, x=(1, 7, 7, 5)), uniform(RNG, 1, 7, 7, 5))


def product(weight, rows=64):
    def build(emit, x):
        return emit(relax.op.matmul(x, const(np.ascontiguousarray(weight.T))), "product")

    return module(build, x=(rows, weight.shape[1]))


@pytest.mark.parametrize(("race", "taken"), [(faster, True), (slower, False)])
def test_a_measurement_decides_where_the_code_runs_here(race, taken):
    lowered = lower(product(sparse(64, 64)), HERE, race=race)
    (decision,) = lowered.sparse
    assert (decision.taken, decision.measured, decision.gain) == (taken, True, race())
    assert any(map(is_sparse, lowered.tasks.values())) == taken
    (note,) = sparse_notes(lowered.sparse, HERE)
    assert f"{race():.2f} times as fast, measured here" in note
    assert ("is sparse" if taken else "is dense") in note


def test_equal_sizes_are_measured_once():
    seen = []

    def race(*mods):
        seen.append(mods)
        return 2.0

    weight = sparse(64, 64)
    others = [weight, weight * 2, weight * 3]

    def build(emit, x):
        for i, each in enumerate(others):
            x = emit(relax.op.matmul(x, const(np.ascontiguousarray(each.T))), f"p{i}")
        return x

    lowered = lower(module(build, x=(64, 64)), HERE, race=race)
    assert len(lowered.sparse) == 3
    assert len(seen) == 1


@pytest.mark.parametrize("name", ["rpi4", "rpi5", "x86-64-v3", "cascadelake"])
@pytest.mark.parametrize(("share", "taken"), [(0.8, True), (0.05, False)])
def test_a_model_decides_for_another_machine(name, share, taken):
    lowered = lower(product(sparse(128, 128, share=share)), targets.load(name))
    assert any(map(is_sparse, lowered.tasks.values())) == taken
    if taken:
        (decision,) = lowered.sparse
        assert not decision.measured
        assert 3.5 < decision.gain < 5.5
        assert f"by the model of {name}" in sparse_notes(lowered.sparse, targets.load(name))[0]


def test_dense_weights_are_measured_never():
    def race(*_):
        raise AssertionError

    lowered = lower(product(uniform(RNG, 64, 64)), HERE, race=race)
    assert lowered.sparse == ()


def test_weights_that_may_only_be_packed_are_dense():
    lowered = lower(product(sparse(64, 64)), HERE, winograd=False)
    assert not any(map(is_sparse, lowered.tasks.values()))


def test_constants_have_no_zero_blocks():
    dense = sum(c.nbytes for c in lower(product(uniform(RNG, 256, 256)), HERE).constants)
    lowered = lower(product(sparse(256, 256)), HERE, race=faster)
    assert sum(c.nbytes for c in lowered.constants) < 0.3 * dense
