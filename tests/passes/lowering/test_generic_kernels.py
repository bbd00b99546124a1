"""A product whose kernel no schedule is made for is told."""

from __future__ import annotations

from tvmcomp.model import Operator
from tvmcomp.passes.lowering.generic_kernels import is_generic_product, with_generic_marked
from tvmcomp.schedules.anchor import ANCHOR
from tvmcomp.tvm_import import tvm


def product(**attributes: str):
    x, w = (tvm.te.placeholder((8, 8), name=name) for name in "xw")
    k = tvm.te.reduce_axis((0, 8), "k")
    y = tvm.te.compute(
        (8, 8), lambda i, j: tvm.te.sum(x[i, k] * w[k, j], k), name="y", attrs=attributes
    )
    return tvm.te.create_prim_func([x, w, y])


def maximum():
    """A reduction with arithmetic in its indices, and no products."""
    x = tvm.te.placeholder((64,), name="x")
    k = tvm.te.reduce_axis((0, 4), "k")
    return tvm.te.create_prim_func(
        [x, tvm.te.compute((8,), lambda i: tvm.te.max(x[i * 7 + k * 2], k), name="y")]
    )


def test_what_has_no_schedule_of_its_own():
    assert is_generic_product(product()) and not is_generic_product(maximum())
    assert not is_generic_product(product(**{ANCHOR: "batched_matmul"}))
    operators = [
        Operator("plain", "matmul", "float32", macs=512),
        Operator("ours", "matmul", "float32", macs=512),
        Operator("packed", "matmul", "float32", macs=512),
        Operator("relu", "nn.relu", "float32"),
        Operator("lost", "matmul", "float32", macs=512),
    ]
    sources = {
        "fused_plain_relu": frozenset(["plain", "relu"]),
        "fused_ours": frozenset(["ours", "ours_bias"]),
        "fused_pack": frozenset(["packed"]),
        "fused_packed": frozenset(["packed1"]),
    }
    anchored = product(**{ANCHOR: "batched_matmul"})
    tasks = {
        "fused_plain_relu": product(),
        "fused_ours": anchored,
        "fused_pack": maximum(),
        "fused_packed": anchored,
    }
    marked = with_generic_marked(operators, sources, tasks)
    assert [operator.name for operator in marked if operator.generic] == ["plain"]
