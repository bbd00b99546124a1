"""Equal kernels are one function; what each of its calls computes is told apart all the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from relax_modules import module

from tvmcomp import targets
from tvmcomp.passes.operator_inputs import operator_inputs
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.rewriter import const
from tvmcomp.tvm_import import tvm

relax = tvm.relax


def chain(emit: Any, x: Any) -> Any:
    """Two equal layers, and the sum of both."""
    weight = np.random.default_rng(0).standard_normal((8, 8)).astype("float32")
    sums = []
    for layer in ("first", "second"):
        product = emit(relax.op.matmul(x, const(weight * (len(sums) + 1))), f"{layer}_matmul")
        x = emit(relax.op.nn.relu(product), f"{layer}_relu")
        sums.append(x)
    return emit(relax.op.add(*sums), "total_add")


def test_each_call_of_a_shared_kernel_has_its_own_operators() -> None:
    lowered = lower(module(chain, x=(4, 8)), targets.detect())
    calls = [names for each in lowered.computed.values() for names in each]
    products = [names for names in calls if any("matmul" in name for name in names)]
    others = {"total", "gv", "gv1"}
    assert [{name.split("_")[0] for name in names} - others for names in products] == [
        {"first"},
        {"second"},
    ]
    assert all(any("relu" in name for name in names) for names in products)
    assert set(lowered.computed) <= set(lowered.tasks_of_kernels())


def test_operators_read_operators_and_inputs() -> None:
    names = ["first_matmul", "first_relu", "second_matmul", "second_relu", "sum"]
    found = operator_inputs(module(chain, x=(4, 8)), names)
    assert found["first_matmul"] == (-1,) and found["first_relu"] == (0,)
    assert found["second_matmul"] == (1,) and found["second_relu"] == (2,)
    assert set(found["sum"]) == {1, 3}  # the output, whose name is Relax's
