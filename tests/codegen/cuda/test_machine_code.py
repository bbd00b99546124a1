"""Kernels of ours have the instructions that they are written for, on every architecture."""

from __future__ import annotations

from typing import Any

import pytest
from slow_variants import first_and_slow

from benchmarks.cuda.machine_code import launched_with
from tvmcomp import targets
from tvmcomp.codegen.code_target import machine_code as generate
from tvmcomp.codegen.cuda import kernels, nvcc, nvrtc
from tvmcomp.codegen.cuda.compiler import Compiled
from tvmcomp.codegen.cuda.machine_code import instructions, of_kind, resources
from tvmcomp.schedules.cuda import schedule_kernel
from tvmcomp.targets.gpu_limits import resident_blocks
from tvmcomp.tvm_import import tvm

pytestmark = pytest.mark.skipif(
    not (nvcc.find_nvcc() or nvrtc.find_nvrtc()), reason="no CUDA compiler on this machine"
)
#: h100 first: the others run apart.
ARCHITECTURES = first_and_slow("h100", "t4", "a100", "jetson-orin", "rtx4090")


def product(dtype: str) -> Any:
    from tvm import te

    wide = "int32" if dtype == "int8" else "float32"
    a, b = (te.placeholder((128, 128), dtype, name=name) for name in "ab")
    k = te.reduce_axis((0, 128), name="k")
    total = te.compute(
        (128, 128),
        lambda i, j: te.sum(a[i, k].astype(wide) * b[j, k].astype(wide), axis=k),
        name="total",
    )
    y = te.compute((128, 128), lambda i, j: te.max(total[i, j], tvm.tirx.const(0, wide)), name="y")
    return te.create_prim_func([a, b, y])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_products_run_on_tensor_cores(name: str) -> None:
    target = targets.load(name)
    dtypes = ["float16", "int8", *["bfloat16"] * target.bfloat16]
    functions = {}
    for dtype in dtypes:
        found = schedule_kernel(product(dtype), target)
        assert found is not None and found[0] == "gemm"
        functions[dtype] = found[1].with_attr("global_symbol", dtype)
    seen: dict[str, Any] = {}
    with kernels.compiled_at_build(seen.__setitem__):
        generate(tvm.IRModule(functions), target, False)
    compiled = Compiled(seen["kernels.cubin"], seen["kernels.ptx"], seen["kernels.log"])
    counted = instructions(compiled)
    assert counted.keys() == {f"{dtype}_kernel" for dtype in dtypes}
    for kernel, taken in resources(compiled).items():
        assert taken.spilled == 0
        assert resident_blocks(target.capability, taken.threads, taken.registers, taken.shared) > 0
        tensor = of_kind(counted[kernel], "tensor")
        assert any(
            each.startswith(("IMMA" if "int8" in kernel else "HMMA", "mma")) for each in tensor
        )
        assert of_kind(counted[kernel], "ldmatrix")
        assert bool(of_kind(counted[kernel], "async copy")) == (target.capability >= 80)


def test_shared_memory_of_launches_is_read() -> None:
    text = """class Module:
    def one(x: T.Buffer((1,))):
            shared = T.alloc_buffer((24576,), "uint8", scope="shared.dyn", align=128)
    def two(y: T.Buffer((1,))):
            pass
"""
    assert launched_with(text) == {"one_kernel": 24576, "two_kernel": 0}
