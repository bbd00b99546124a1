"""Each form, compiled and run as its README.txt says."""

from __future__ import annotations

import fnmatch
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from exported import STRICT, run, tool

import tvmcomp
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import ConfigError, ToolError

Exported = Callable[[str], Path]
AGREES = re.compile(r"scores: agrees .*\nheat: agrees .*\n")
LIBRARIES = {"static": ["-lmobile_net", "-ltvmcomp", "-lm", "-lpthread"]}
LIBRARIES["shared"] = ["-lmobile_net", "-lm", "-Wl,-rpath,$ORIGIN/lib"]


@pytest.fixture
def folder(exported: Exported, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy to compile in."""
    return shutil.copytree(exported(request.param), tmp_path / "copy")


@pytest.mark.parametrize("folder", ["static", "shared"], indirect=True)
@pytest.mark.parametrize("language", ["gcc -std=c11", "gcc -std=c99", "g++ -x c++"])
def test_the_example_of_a_library(folder: Path, language: str) -> None:
    form = "static" if (folder / "lib/libtvmcomp.a").exists() else "shared"
    lines = (folder / "example.c").read_text().splitlines()
    assert len(lines) < 60
    compiler, *options = language.split()
    source = ["example.c", *(["-x", "none"] if "c++" in options else [])]
    command = [tool(compiler), *options, *STRICT, "-Iinclude", *source, "-Llib"]
    run([*command, *LIBRARIES[form], "-o", "example"], folder)
    values = [float(line) for line in run(["./example"], folder).split()]
    assert len(values) == 10


@pytest.mark.parametrize("folder", ["static", "shared"], indirect=True)
def test_the_self_test_of_a_library(folder: Path) -> None:
    form = "static" if (folder / "lib/libtvmcomp.a").exists() else "shared"
    sources = [*folder.glob("selftest/*.c"), *folder.glob("selftest/*.S")]
    command = [tool("gcc"), *STRICT, "-Iinclude", "-Iselftest", *sources, "-Llib"]
    run([*command, *LIBRARIES[form], "-o", "selftest.out"], folder)
    assert AGREES.fullmatch(run(["./selftest.out", "--selftest", "--threads", "2"], folder))


def test_a_shared_library_shows_its_functions_alone(exported: Exported) -> None:
    elf = ELFFile.load_from_path(exported("shared") / "lib" / "libmobile_net.so")
    shown = {
        each.name
        for each in elf.get_section_by_name(".dynsym").iter_symbols()
        if each["st_shndx"] != "SHN_UNDEF" and each["st_info"]["bind"] == "STB_GLOBAL"
    }
    header = (exported("shared") / "include" / "mobile_net.h").read_text()
    assert shown == set(re.findall(r"^TVMCOMP_API .*?(mobile_net_\w+)\(", header, re.MULTILINE))
    needed = {tag.needed for tag in elf.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")}
    assert needed <= {"libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2"}


@pytest.mark.parametrize("folder", ["static", "shared"], indirect=True)
def test_cmake_finds_a_library(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(user C)\n"
        "find_package(mobile_net REQUIRED)\nfind_package(mobile_net REQUIRED)\n"
        f"add_executable(user {folder}/example.c)\n"
        "target_link_libraries(user mobile_net::mobile_net)\n"
    )
    run([tool("cmake"), f"-DCMAKE_PREFIX_PATH={folder}", "-S", tmp_path, "-B", tmp_path / "build"])
    run(["cmake", "--build", tmp_path / "build"])
    assert len(run([tmp_path / "build" / "user"]).split()) == 10


@pytest.mark.parametrize("folder", ["source"], indirect=True)
def test_make_compiles_sources(folder: Path) -> None:
    tool("gcc")
    run([tool("make"), "CC=gcc", f"CFLAGS=-O1 {' '.join(STRICT)}"], folder)
    assert AGREES.search(run(["make", "CC=gcc", "check"], folder))
    run(["make", "CC=gcc", "example"], folder)
    assert len(run(["./example"], folder).split()) == 10
    before = {path.name for path in folder.rglob("*")}
    run(["make", "clean"], folder)
    assert not {name for name in before if name.endswith((".c.o", ".S.o", ".a"))} & {
        path.name for path in folder.rglob("*")
    }
    assert (folder / "mobile_net_kernels.o").exists()


@pytest.mark.parametrize("folder", ["source"], indirect=True)
def test_cmake_compiles_sources(folder: Path, tmp_path: Path) -> None:
    build = tmp_path / "build"
    run([tool("cmake"), "-S", folder, "-B", build])
    targets = ["mobile_net_selftest", "mobile_net_example"]
    run(["cmake", "--build", build, "--target", *targets])
    assert AGREES.fullmatch(run([build / "mobile_net_selftest", "--selftest"]))
    assert len(run([build / "mobile_net_example"]).split()) == 10


@pytest.mark.parametrize("folder", ["source"], indirect=True)
def test_sources_without_threads(folder: Path) -> None:
    tool("gcc")
    flags = f"CFLAGS=-O1 -DTVMCOMP_WITHOUT_THREADS {' '.join(STRICT)}"
    assert AGREES.search(run([tool("make"), "CC=gcc", flags, "check"], folder))


def test_a_program_needs_nothing(exported: Exported) -> None:
    program = exported("program") / "mobile_net"
    elf = ELFFile.load_from_path(program)
    assert elf.get_section_by_name(".dynamic") is None
    assert AGREES.fullmatch(run([program, "--selftest", "--threads", "2"]))


@pytest.mark.parametrize("form", ["static", "shared", "program", "source"])
def test_readme_tells_of_every_file(form: str, exported: Exported) -> None:
    folder = exported(form)
    told = [line.split()[0] for line in (folder / "README.txt").read_text().splitlines() if line]
    told += ["README.txt", "include/tvmcomp.h"]
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder)) + ("/" if path.is_dir() else "")
        known = any(name.startswith(each) or each.startswith(name) for each in told)
        assert known or any(fnmatch.fnmatch(name, each) for each in told), name


def test_weights_are_in_read_only_data_aligned(exported: Exported, artifact: Artifact) -> None:
    elf = ELFFile.load_from_path(exported("program") / "mobile_net")
    sections = {name: elf.get_section_by_name(name) for name in (".rodata", ".data")}
    assert sections[".rodata"]["sh_size"] > sum(array.nbytes for array in artifact.constants)
    assert sections[".rodata"]["sh_addralign"] >= 64
    assert sections[".data"] is None or sections[".data"]["sh_size"] < 4096


def test_another_compiler(artifact: Artifact, tmp_path: Path) -> None:
    tool("gcc")
    tvmcomp.export(artifact, tmp_path / "made", "program", linker="gcc")
    assert AGREES.fullmatch(run([tmp_path / "made" / "mobile_net", "--selftest"]))


def test_a_compiler_that_fails_leaves_nothing(artifact: Artifact, tmp_path: Path) -> None:
    for form in ("static", "shared", "program"):
        with pytest.raises(ToolError, match="no-such-option"):
            tvmcomp.export(artifact, tmp_path / "made", form, linker="gcc --no-such-option")
        assert list(tmp_path.iterdir()) == []


def test_a_form_that_there_is_none_of(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="static, shared, program, source"):
        tvmcomp.export(artifact, tmp_path / "made", "wasm")  # type: ignore[arg-type]
