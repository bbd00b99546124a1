"""Symbols of object files, changed and read again by others."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from emulated import run_emulated

from tvmcomp import targets
from tvmcomp.codegen.toolchain import c_compiler
from tvmcomp.export.object_symbols import with_prefix, with_weak_open

SOURCE = """
__attribute__((weak)) int (*__TVMBackendHelp)(int);
__attribute__((weak)) int other(void) { return 3; }
extern int outside(int);
static int own_table[] = {1, 2, 3};
int network_k1(int x) { return own_table[x] + outside(x); }
int network_k0(int x) { return network_k1(x) + __TVMBackendHelp(x) + other(); }
int nets(void) { return 0; }
"""
USER = """
static int help(int x) { return 100 * x; }
int (*__TVMBackendHelp)(int) = help;
int outside(int x) { return 10 * x; }
int mnist_k0(int x);
int main(void) { return mnist_k0(2) - (3 + 20 + 200 + 3); }
"""
TRIPLES = {
    "x86_64-linux-gnu": "x86_64-linux-musl",
    "aarch64-linux-gnu": "aarch64-linux-musl",
    "armv7l-linux-gnueabihf": "arm-linux-musleabihf",
    "riscv64-linux-gnu": "riscv64-linux-musl",
}


def compiled(folder: Path, triple: str) -> Path:
    source = folder / "kernels.c"
    source.write_text(SOURCE)
    compiler = c_compiler(targets.load("arm"), triple=TRIPLES[triple])
    compiler.run("compiling", folder / "kernels.o", ["-c", "-fPIC", str(source)])
    return folder / "kernels.o"


def symbols(path: Path) -> dict[str, tuple[str, str]]:
    table = ELFFile.load_from_path(path).get_section_by_name(".symtab")
    return {
        each.name: (each["st_info"]["bind"], each["st_shndx"])
        for each in table.iter_symbols()
        if each.name and each["st_info"]["bind"] != "STB_LOCAL"
    }


@pytest.mark.parametrize("triple", TRIPLES)
def test_prefixes_and_weak_definitions(triple: str, tmp_path: Path) -> None:
    path = compiled(tmp_path, triple)
    before = symbols(path)
    assert before["__TVMBackendHelp"][0] == "STB_WEAK"
    path.write_bytes(with_prefix(path.read_bytes(), "network_k", "mnist_k"))
    renamed = symbols(path)
    assert renamed == {name.replace("network_k", "mnist_k"): kind for name, kind in before.items()}
    path.write_bytes(with_weak_open(path.read_bytes(), "__TVM"))
    opened = symbols(path)
    assert opened.pop("__TVMBackendHelp") == ("STB_GLOBAL", "SHN_UNDEF")
    assert opened == {name: kind for name, kind in renamed.items() if name in opened}


@pytest.mark.slow  # the linker builds the C library of each processor first
@pytest.mark.ci
@pytest.mark.parametrize("triple", TRIPLES)
def test_a_program_of_it_computes(triple: str, tmp_path: Path) -> None:
    """The compiler for the target links it; the processor runs it."""
    path = compiled(tmp_path, triple)
    data = with_weak_open(with_prefix(path.read_bytes(), "network_k", "mnist_k"), "__TVM")
    path.write_bytes(data)
    (tmp_path / "user.c").write_text(USER)
    compiler = c_compiler(targets.load("arm"), triple=TRIPLES[triple])
    arguments = ["-static", str(tmp_path / "user.c"), str(path)]
    compiler.run("linking", tmp_path / "user", arguments)
    done = run_emulated(triple, tmp_path / "user", [])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.ci
def test_symbols_of_more_sections_than_16_bits_count(tmp_path: Path) -> None:
    source = "".join(
        f'__attribute__((section(".text.f{i}"))) int network_k{i}(void) {{ return {i}; }}\n'
        for i in range(66_000)
    )
    (tmp_path / "many.c").write_text(source)
    subprocess.run(["gcc", "-c", "-o", "many.o", "many.c"], cwd=tmp_path, check=True)
    path = tmp_path / "many.o"
    before = symbols(path)
    path.write_bytes(with_prefix(path.read_bytes(), "network_k", "net_k"))
    assert set(symbols(path)) == {name.replace("network_k", "net_k") for name in before}


@pytest.mark.parametrize(
    "data", [b"", b"\x7fELF", b"no ELF at all", b"\x7fELF\x02\x02" + bytes(90)]
)
def test_another_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="ELF"):
        with_prefix(data, "a", "b")
