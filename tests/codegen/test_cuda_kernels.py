"""CUDA kernels are in the library as binaries, and come out of it as such, with no GPU here."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from tvmcomp import targets
from tvmcomp.codegen import cuda_kernels, toolchain
from tvmcomp.errors import ToolError
from tvmcomp.tvm_import import tvm

needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on this machine")


def compile_doubling(target: targets.TargetDescription) -> Any:
    x = tvm.te.placeholder((256,), "float32", name="x")
    y = tvm.te.compute((256,), lambda i: x[i] * tvm.tirx.const(2, "float32"), name="y")
    schedule = tvm.s_tir.Schedule(tvm.te.create_prim_func([x, y]))
    (loop,) = schedule.get_loops(schedule.get_sblock("y"))
    block, thread = schedule.split(loop, [None, 64])
    schedule.bind(block, "blockIdx.x")
    schedule.bind(thread, "threadIdx.x")
    return tvm.compile(schedule.mod, target=tvm.target.Target(target.tvm_target_dict()))


@needs_nvcc
@pytest.mark.parametrize("name", ["h100", "jetson-orin"])
def test_the_library_holds_a_binary_for_the_gpu(name: str, tmp_path: Path) -> None:
    target = targets.load(name)
    with cuda_kernels.compiled_at_build():
        executable = compile_doubling(target)
    path = tmp_path / "lib.so"
    executable.export_library(str(path), fcompile=toolchain.link_function(target))
    library = path.read_bytes()
    assert b"__global__" not in library  # no source left to compile on the device
    start = library.index(cuda_kernels._BINARY.encode())
    length = int.from_bytes(library[start - 8 : start], "little")
    carried = library[start : start + length].decode()
    cubin = bytes(tvm.get_global_func("tvm_callback_cuda_compile")(carried))
    elf = ELFFile(io.BytesIO(cubin))
    assert elf["e_machine"] == "EM_CUDA"
    assert target.cuda_arch.encode() in cubin


@needs_nvcc
def test_source_is_kept_outside_the_context() -> None:
    with cuda_kernels.compiled_at_build():
        pass
    assert "__global__" in compile_doubling(targets.load("h100")).mod.imports[0].inspect_source()


@needs_nvcc
def test_a_refused_kernel_shows_the_compilers_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvm.support.nvcc, "compile_cuda", refuse(tvm.support.nvcc.compile_cuda))
    with (
        pytest.raises(ToolError, match="nosuchtype"),
        cuda_kernels.compiled_at_build(),
    ):
        compile_doubling(targets.load("h100"))


def refuse(compile_cuda: Any) -> Any:
    """Compile something else, that is wrong."""
    return lambda _code, *args, **kwargs: compile_cuda("nosuchtype x;", *args, **kwargs)


def test_no_compiler_is_said_before_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise ToolError("no CUDA compiler")

    monkeypatch.setattr(cuda_kernels, "cuda_compiler", none)
    with (
        pytest.raises(ToolError, match="no CUDA compiler"),
        cuda_kernels.compiled_at_build(),
    ):
        pytest.fail("the body must not run")
