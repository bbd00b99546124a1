"""Loops as functions of the virtual machine: any number of trips, without a frame for each."""

from __future__ import annotations

import numpy as np
import pytest

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.loops import LOOP_BODY, LoopForm, loop
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.rewriter import const
from tvmcomp.tvm_import import tvm

relax = tvm.relax
HERE = targets.detect()
WEIGHT = (np.random.default_rng(0).normal(size=(8, 8)) * 0.3).astype("float32")
X = np.random.default_rng(1).normal(size=(4, 8)).astype("float32")


def tensor(shape, dtype="float32"):
    return relax.TensorType(shape, dtype)


def looped(trips):
    """``s = tanh(s W + x)``, which begins with ``x``, and the sums of its rows."""
    body, main = relax.BlockBuilder(), relax.BlockBuilder()
    params = [relax.Var("i", tensor((), "int64"))]
    params += [relax.Var(name, tensor((4, 8))) for name in "sx"]
    with body.function("main", params):
        with body.dataflow():
            product = body.emit(relax.op.matmul(params[1], const(WEIGHT)))
            state = body.emit(relax.op.tanh(body.emit(relax.op.add(product, params[2]))))
            row = body.emit(relax.op.sum(state, [0]))
            result = body.emit_output(relax.Tuple([state, row]))
        body.emit_func_output(result)
    form = LoopForm("b__body", [(4, 8), (trips, 8)], ["float32"] * 2, 1, trips, False)
    x = relax.Var("x", tensor((4, 8)))
    with main.function("main", [x]):
        with main.dataflow():
            given = [relax.const(trips, "int64"), relax.const(True), [x, x]]
            result = main.emit_output(main.emit(loop(form, *given)))
        main.emit_func_output(result)
    mod = main.get()
    function = body.get()["main"].with_attr("global_symbol", form.body).with_attr(LOOP_BODY, 0)
    mod[tvm.ir.GlobalVar(form.body)] = function
    return mod


@pytest.mark.parametrize("trips", [1, 5, 50_000])
def test_trips(trips):
    (state, rows), _ = run_here(looped(trips), HERE, [X])
    wanted = X
    for trip in range(min(trips, 100)):  # it comes to rest
        wanted = np.tanh(wanted @ WEIGHT + X)
        np.testing.assert_allclose(rows[trip], wanted.sum(0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(state, wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(rows[-1], wanted.sum(0), rtol=1e-4, atol=1e-4)


def test_kernels_count_as_often_as_they_run():
    lowered = lower(looped(7), HERE)
    assert set(lowered.calls.values()) == {7}
    assert lowered.constants, "the weight is no parameter of main"
