"""Real links for every architecture, and what a failing or missing tool says."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from tvmcomp import targets
from tvmcomp.codegen import toolchain
from tvmcomp.errors import ToolError
from tvmcomp.tvm_import import tvm

relax = tvm.relax

MACHINES = {
    "x86_64": "EM_X86_64",
    "aarch64": "EM_AARCH64",
    "armv7l": "EM_ARM",
    "riscv64": "EM_RISCV",
}
CPU_TARGETS = [name for name in targets.shipped() if targets.load(name).family != "cuda"]
#: What any Linux device has: with glibc, and with musl, which is one library. TVM's runtime
#: resolves the functions named TVM….
ON_EVERY_DEVICE = {"libc.so.6", "libm.so.6", "libc.so"}
#: What the network below takes from musl, whose symbols have no versions.
IN_MUSL = {"__cxa_finalize", "erff", "expf", "memcpy", "memset", "roundf", "nearbyintf"}


def network() -> Any:
    """A Relax module that needs what links go wrong on: libm, float16, 64-bit division."""
    tensor = relax.TensorType
    x = relax.Var("x", tensor((1, 8, 8, 3), "float32"))
    half = relax.Var("half", tensor((1, 6, 6, 8), "float16"))
    long = relax.Var("long", tensor((4,), "int64"))
    weight = relax.Var("weight", tensor((8, 3, 3, 3), "float32"))
    builder = relax.BlockBuilder()
    op = relax.op
    with builder.function("main", [x, half, long, weight]):
        with builder.dataflow():
            y = op.nn.conv2d(x, weight, data_layout="NHWC", kernel_layout="OHWI")
            y = builder.emit(op.round(op.exp(op.erf(builder.emit(y)))))
            first = builder.emit_output(op.add(op.astype(y, "float16"), half))
            second = builder.emit_output(op.floor_divide(long, relax.const(7, "int64")))
        builder.emit_func_output((first, second))
    return builder.get()


def link(target: targets.TargetDescription, path: Path, linker: str | None = None) -> None:
    executable = tvm.compile(network(), target=tvm.target.Target(target.tvm_target_dict()))
    executable.export_library(str(path), fcompile=toolchain.link_function(target, linker))


def check_self_contained(path: Path, machine: str) -> ELFFile:
    elf = ELFFile.load_from_path(path)
    assert elf["e_machine"] == machine
    tags = elf.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")
    assert {tag.needed for tag in tags} <= ON_EVERY_DEVICE
    versions = elf.get_section_by_name(".gnu.version")
    for index, symbol in enumerate(elf.get_section_by_name(".dynsym").iter_symbols()):
        if symbol.name and symbol["st_shndx"] == "SHN_UNDEF":
            # A symbol found in libc or libm at link time has a version; a stray one has none.
            version = versions.get_symbol(index)["ndx"] if versions else "VER_NDX_GLOBAL"
            stray = version in ("VER_NDX_LOCAL", "VER_NDX_GLOBAL")
            stray = symbol.name not in IN_MUSL if versions is None else stray
            assert symbol.name.startswith("TVM") or not stray, symbol.name
    return elf


@pytest.mark.parametrize("name", CPU_TARGETS)
def test_a_network_builds_and_links(name: str, tmp_path: Path) -> None:
    target = targets.load(name)
    link(target, tmp_path / "lib.so")
    elf = check_self_contained(tmp_path / "lib.so", MACHINES[target.triple.split("-")[0]])
    if name in ("armv7", "rpi2"):
        assert elf["e_flags"] & 0x400  # hard-float calling convention
    if name == "riscv64":
        assert elf["e_flags"] & 0x6 == 0x4  # double-float calling convention


def test_a_library_for_this_machine_computes(tmp_path: Path) -> None:
    link(targets.detect(), tmp_path / "lib.so")
    check_self_contained(tmp_path / "lib.so", "EM_X86_64" if os.uname().machine == "x86_64" else "")
    machine = relax.VirtualMachine(tvm.runtime.load_module(str(tmp_path / "lib.so")), tvm.cpu())
    long = np.array([-8, -1, 6, 2**40], "int64")
    zeros = np.zeros((1, 8, 8, 3), "float32"), np.ones((1, 6, 6, 8), "float16")
    first, second = machine["main"](
        *(tvm.runtime.tensor(a) for a in (*zeros, long, np.zeros((8, 3, 3, 3), "float32")))
    )
    np.testing.assert_array_equal(first.numpy(), np.full((1, 6, 6, 8), 2, "float16"))
    np.testing.assert_array_equal(second.numpy(), long // 7)


def test_a_module_without_kernels_is_of_the_targets_architecture(tmp_path: Path) -> None:
    x = relax.Var("x", relax.TensorType((4,), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        builder.emit_func_output(x)
    target = targets.load("arm")
    executable = tvm.compile(builder.get(), target=tvm.target.Target(target.tvm_target_dict()))
    executable.export_library(str(tmp_path / "lib.so"), fcompile=toolchain.link_function(target))
    check_self_contained(tmp_path / "lib.so", "EM_AARCH64")


def test_the_same_objects_give_the_same_bytes(tmp_path: Path) -> None:
    target = targets.load("arm")
    executable = tvm.compile(network(), target=tvm.target.Target(target.tvm_target_dict()))
    for name in ("one.so", "two.so"):
        executable.export_library(str(tmp_path / name), fcompile=toolchain.link_function(target))
    assert (tmp_path / "one.so").read_bytes() == (tmp_path / "two.so").read_bytes()


def test_a_glibc_too_old_for_a_symbol_is_not_required(tmp_path: Path) -> None:
    """No symbol's version may be newer than the floor in the triple, 2.28."""
    link(targets.load("arm"), tmp_path / "lib.so")
    elf = ELFFile.load_from_path(tmp_path / "lib.so")
    needed = [
        version.name
        for _, versions in elf.get_section_by_name(".gnu.version_r").iter_versions()
        for version in versions
    ]
    assert needed
    assert max(tuple(map(int, name.removeprefix("GLIBC_").split("."))) for name in needed) <= (
        2,
        28,
    )


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
def test_own_compiler(tmp_path: Path) -> None:
    link(targets.detect(), tmp_path / "lib.so", linker="gcc -Wl,--build-id=none")
    assert tvm.runtime.load_module(str(tmp_path / "lib.so"))


def test_own_compiler_that_is_missing() -> None:
    with pytest.raises(ToolError, match="no compiler 'no-such-gcc'"):
        toolchain.link_function(targets.load("arm"), linker="no-such-gcc -O2")


def test_own_compiler_for_another_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(toolchain._cache_folder()))
    with pytest.raises(ToolError, match=r"(?s)the linker failed.*aarch64-linux-gnu") as error:
        link(targets.load("arm"), tmp_path / "lib.so", linker=zig_cc("x86_64-linux-gnu"))
    assert error.value.where is not None
    assert "linking for arm" in error.value.where


def zig_cc(triple: str) -> str:
    return " ".join(toolchain._zig_command(triple)[:4]) + f" -target {triple} -s -O2"


def test_a_triple_that_the_linker_does_not_know(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    text = targets.shipped()["arm"].read_text()
    bad.write_text(text.replace("aarch64-linux-gnu.2.28", "aarch64-limux-gnu"))
    with pytest.raises(ToolError, match="aarch64-limux-gnu"):
        link(targets.load(bad), tmp_path / "lib.so")


def test_linking_without_ziglang_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ToolError, match="pip install ziglang"):
        toolchain.link_function(targets.load("arm"))


def test_the_cache_leaves_a_home_that_is_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.write_text("")  # root may write to any folder, but nobody can make one in a file
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = toolchain._cache_folder()
    assert folder == tmp_path / f"tvmcomp-{os.getuid()}" / "zig"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_users_own_zig_cache_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(tmp_path))
    assert toolchain._zig_environment()["ZIG_GLOBAL_CACHE_DIR"] == str(tmp_path)
