"""What TVM prints of our kernels, CUDA's compiler takes: the CPU's tests do not see the text."""

from __future__ import annotations

from typing import Any

import pytest

from tvmcomp import targets
from tvmcomp.codegen.cuda import kernels, nvcc, nvrtc
from tvmcomp.schedules.cuda import schedule_kernel
from tvmcomp.tvm_import import tvm

te, tirx = tvm.te, tvm.tirx
SHAPES = ((8, 1), (8, 64))
pytestmark = pytest.mark.skipif(
    not (nvrtc.find_nvrtc() or nvcc.find_nvcc()), reason="no CUDA compiler on this machine"
)


def compiled(name: str, *tensors: Any) -> Any:
    """What the compiler said of the kernel of ``tensors``: inputs and the result."""
    target, seen = targets.load(name), dict[str, Any]()
    found = schedule_kernel(te.create_prim_func(list(tensors)), target)
    assert found is not None
    module = tvm.IRModule({"main": found[1].with_attr("global_symbol", "main")})
    with kernels.compiled_at_build(seen.__setitem__):
        tvm.compile(module, target=tvm.target.Target(target.tvm_target_dict()))
    return seen["kernels.log"]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "int64", "int8"])
@pytest.mark.parametrize("broadcast", [False, True])
def test_conditions_become_numbers(dtype: str, broadcast: bool) -> None:
    x = te.placeholder((8, 1 if broadcast else 64), "float32", name="x")
    y = te.placeholder((8, 64), "float32", name="y")

    def value(i: Any, j: Any) -> Any:
        flag = x[i, 0 if broadcast else j] < 0.5
        return flag.astype(dtype) + y[i, j].astype(dtype)

    compiled("h100", x, y, te.compute((8, 64), value, name="z"))
    flags = te.compute((8, 64), lambda i, j: (x[i, 0 if broadcast else j] < 0.5).astype(dtype))
    compiled("h100", x, flags)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "uint8", "int32"])
def test_one_number_meets_many(dtype: str) -> None:
    x, y = (
        te.placeholder(shape, dtype, name=name) for name, shape in zip("xy", SHAPES, strict=True)
    )
    wider = te.compute((8, 64), lambda i, j: te.max(x[i, 0], y[i, j]), name="z")
    compiled("h100", x, y, wider)
    compiled("h100", x, te.compute((8, 64), lambda i, j: x[i, 0], name="z"))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int32"])
@pytest.mark.parametrize("each", [False, True])
def test_choices_by_one_condition_and_by_many(dtype: str, each: bool) -> None:
    x = te.placeholder(SHAPES[each], "int64", name="x")
    y, z = (te.placeholder(SHAPES[1], dtype, name=name) for name in "yz")
    chosen = te.compute(
        SHAPES[1],
        lambda i, j: tirx.Select(x[i, j if each else 0] < 5, y[i, j], z[i, j]),
        name="chosen",
    )
    compiled("h100", x, y, z, chosen)
