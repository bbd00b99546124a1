"""CUDA kernels are in the library as binaries, and come out of it as such, with no GPU here."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from elftools.elf.elffile import ELFFile

from tvmcomp import targets
from tvmcomp.artifact.gpu_code import MARK, GpuCode
from tvmcomp.codegen import toolchain
from tvmcomp.codegen.cuda import compiler, find, kernels, machine_code, nvcc, nvrtc
from tvmcomp.errors import ArtifactError, ToolError
from tvmcomp.runtime import gpu_runtime
from tvmcomp.tvm_import import tvm

COMPILERS = [nvcc.find_nvcc(), nvrtc.find_nvrtc()]
needs_one = pytest.mark.skipif(not any(COMPILERS), reason="no CUDA compiler on this machine")


@pytest.fixture(params=COMPILERS, ids=["nvcc", "nvrtc"])
def found(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each compiler in turn, as the one that is here."""
    if request.param is None:
        pytest.skip("not on this machine")
    monkeypatch.setattr(kernels, "cuda_compiler", lambda: request.param)
    return request.param


def compile_doubling(target: targets.TargetDescription, dtype: str = "float16") -> Any:
    x = tvm.te.placeholder((256,), dtype, name="x")
    y = tvm.te.compute((256,), lambda i: x[i] * tvm.tirx.const(2, dtype), name="y")
    schedule = tvm.s_tir.Schedule(tvm.te.create_prim_func([x, y]))
    (loop,) = schedule.get_loops(schedule.get_sblock("y"))
    block, thread = schedule.split(loop, [None, 64])
    schedule.bind(block, "blockIdx.x")
    schedule.bind(thread, "threadIdx.x")
    return tvm.compile(schedule.mod, target=tvm.target.Target(target.tvm_target_dict()))


@pytest.mark.parametrize("name", ["h100", "jetson-orin"])
@pytest.mark.usefixtures("found")
def test_the_library_holds_code_for_the_gpu_and_for_later_ones(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = targets.load(name)
    with kernels.compiled_at_build():
        executable = compile_doubling(target)
    path = tmp_path / "lib.so"
    executable.export_library(str(path), fcompile=toolchain.link_function(target))
    library = path.read_bytes()
    assert b"__global__" not in library  # no source left to compile on the device
    start = library.index(MARK.encode())
    length = int.from_bytes(library[start - 8 : start], "little")
    carried = library[start : start + length].decode()

    def loaded_on(arch: str) -> bytes:
        gpu = msgspec.structs.replace(target, cuda_arch=arch)
        monkeypatch.setattr(gpu_runtime, "detect_cuda", lambda: gpu)
        return bytes(tvm.get_global_func("tvm_callback_cuda_compile")(carried))

    cubin = loaded_on(target.cuda_arch)
    elf = ELFFile(io.BytesIO(cubin))
    assert elf["e_machine"] == "EM_CUDA"
    assert target.cuda_arch.encode() in cubin
    assert f".target {target.cuda_arch}".encode() in loaded_on("sm_120")


def test_what_the_kernels_take_and_are_made_of(found: Any) -> None:
    seen: dict[str, Any] = {}
    with kernels.compiled_at_build(seen.__setitem__):
        compile_doubling(targets.load("a100"))
    assert "__global__" in seen["kernels.cu"]
    made = [seen[f"kernels.{kind}"] for kind in ("cubin", "ptx", "log")]
    compiled = compiler.Compiled(*made)
    ((name, taken),) = machine_code.resources(compiled).items()
    assert 0 < taken.registers < 64
    assert taken[1:] == (0, 0, 64)
    counted = machine_code.instructions(compiled)[name]
    assert sum(counted.values()) > 5
    assert not machine_code.of_kind(counted, "tensor")


def test_the_log_of_the_assembler_is_read() -> None:
    log = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'a_kernel' for 'sm_90'
ptxas info    : Function properties for a_kernel
    8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 8 bytes cumulative stack size, 2048 bytes smem
ptxas info    : Compiling entry function 'b' for 'sm_90'
ptxas info    : Used 8 registers
"""
    ptx = b".visible .entry a_kernel(\n.param .u64 p)\n.maxntid 32, 4, 1\n{\n\tret;\n}\n"
    found = machine_code.resources(compiler.Compiled(b"", ptx, log))
    assert found["a_kernel"] == (255, 2048, 28, 128)
    assert found["b"] == (8, 0, 0, 0)


def test_what_spills_is_compiled_again_with_fewer_registers() -> None:
    def made(asked: list[str], spilled: int, after: int) -> int:
        def compile_with(options: list[str]) -> compiler.Compiled:
            asked.extend(options)
            n = after if options else spilled
            return compiler.Compiled(b"", b"", f"{n} bytes spill stores, 0 bytes spill loads")

        return compiler.spilled(compiler.with_fewest_spills(compile_with).log)

    asked: list[str] = []
    assert made(asked, 0, 0) == 0
    assert not asked
    assert made(asked, 8, 0) == 0
    assert asked == [compiler.FEWER_REGISTERS]
    assert made(asked, 8, 16) == 8


def test_ptx_serves_where_nothing_reads_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_code, "which", lambda _: None)
    monkeypatch.setattr(machine_code, "nvidia_file", lambda _: None)
    ptx = (
        b".entry k(\n)\n{\n\t@%p1 bra L;\n\tcp.async.cg.shared.global [%r1], [%r2], 16;\n"
        b"\tmma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1}, {%r1};\n}\n"
    )
    counted = machine_code.instructions(compiler.Compiled(b"", ptx, ""))["k"]
    kinds = {kind for kind in machine_code.KINDS if machine_code.of_kind(counted, kind)}
    assert kinds == {"tensor", "async copy"}


@needs_one
def test_source_is_kept_outside_the_context() -> None:
    with kernels.compiled_at_build():
        pass
    assert "__global__" in compile_doubling(targets.load("h100")).mod.imports[0].inspect_source()


def test_a_refused_kernel_shows_the_compilers_words(
    found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_source = found.compile
    monkeypatch.setattr(found, "compile", lambda _, arch: compile_source("nosuchtype x;", arch))
    with pytest.raises(ToolError, match="nosuchtype"), kernels.compiled_at_build():
        compile_doubling(targets.load("h100"))


def test_no_compiler_is_said_before_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvcc, "find_nvcc", lambda: None)
    monkeypatch.setattr(nvrtc, "find_nvrtc", lambda: None)
    with pytest.raises(ToolError, match="no CUDA compiler"), kernels.compiled_at_build():
        pytest.fail("the body must not run")


def test_nvrtc_goes_before_nvcc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "find_nvrtc", lambda: "nvrtc")
    monkeypatch.setattr(nvcc, "find_nvcc", lambda: "nvcc")
    assert find.cuda_compiler() == "nvrtc"
    monkeypatch.setattr(nvrtc, "find_nvrtc", lambda: None)
    assert find.cuda_compiler() == "nvcc"


@pytest.mark.parametrize(
    "change", [lambda text: text[:-9], lambda text: text[:40] + "x", str.upper]
)
def test_damaged_code_is_an_error(change: Any) -> None:
    text = GpuCode("sm_90", b"cubin" * 9, b"ptx").to_text()
    assert GpuCode.from_text(text).cubin == b"cubin" * 9
    with pytest.raises(ArtifactError, match="damaged"):
        GpuCode.from_text(change(text))


def test_source_is_refused_where_code_is_loaded() -> None:
    gpu_runtime.accept_compiled()
    with pytest.raises(Exception, match="tvmcomp build"):
        tvm.get_global_func("tvm_callback_cuda_compile")("__global__ void f() {}")


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="a GPU is here")
def test_no_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ToolError, match="CUDA runtime can't be loaded"):
        gpu_runtime.enable_gpu()
