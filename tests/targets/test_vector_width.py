"""The vector registers that a description promises are the ones LLVM uses."""

from __future__ import annotations

import re

import pytest

from tvmcomp import targets
from tvmcomp.tvm_import import tvm

# The register of the widest float instruction: LLVM's own tuning prefers 256 bits on some CPUs.
REGISTERS = {
    "x86-64-v2": r"\baddps.*%xmm",
    "x86-64-v3": r"vaddps.*%ymm",
    "x86-64-v3-musl": r"vaddps.*%ymm",
    "x86-64-v4": r"vaddps.*%zmm",
    "cascadelake": r"vaddps.*%zmm",
    "sapphirerapids": r"vaddps.*%zmm",
    "alderlake": r"vaddps.*%ymm",
    "rpi2": r"vadd\.f32\s+q\d+",
    "arm": r"fadd\s+v\d+\.4s",
    "rpi3": r"fadd\s+v\d+\.4s",
    "rpi4": r"fadd\s+v\d+\.4s",
    "rpi5": r"fadd\s+v\d+\.4s",
    "graviton3": r"fadd\s+v\d+\.4s",
    "armv7": r"vadd\.f32\s+q\d+",
    "riscv64": r"fadd\.s\s+f",
}


@pytest.mark.parametrize("name", REGISTERS)
def test_a_vectorized_loop_uses_the_whole_register(name: str) -> None:
    target = targets.load(name)
    lanes = target.vector_bits // 32
    x = tvm.te.placeholder((64, lanes), "float32", name="x")
    y = tvm.te.compute((64, lanes), lambda i, j: x[i, j] + tvm.tirx.const(1.5, "float32"))
    schedule = tvm.s_tir.Schedule(tvm.te.create_prim_func([x, y]))
    _, inner = schedule.get_loops(schedule.get_sblock("compute"))
    schedule.vectorize(inner)
    built = tvm.compile(schedule.mod, target=tvm.target.Target(target.tvm_target_dict()))
    assembly = built.mod.inspect_source("asm")
    assert re.search(REGISTERS[name], assembly), assembly[:2000]
