"""The C runtime: what its programs check, under several compilers, sanitizers and emulators."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
from compilers import (
    AARCH64,
    ADDRESSES,
    ARMV7,
    GCC,
    MUSL,
    RACES,
    RISCV64,
    THREADLESS,
    WARNINGS,
    ZIG,
    Variant,
    run,
)
from needed import missing
from slow_variants import first_and_slow

from tvmcomp.codegen import cruntime
from tvmcomp.targets import features as cpu_features

CHECKS = {
    "check_interface": (
        "runs bad_arguments given failing hooks timing profiling alignment features texts "
        "borrowed threadless"
    ),
    "check_threads": (
        "counts failing nested eight_contexts eight_share thread_after_thread in_turns borrowed"
    ),
    "check_cores": "crowded bound sleeping cycles lent",
    "check_fork": "used destroyed used_and_destroyed grandchild in_threads amid_a_run",
}
EMULATORS = {
    "aarch64": "qemu-aarch64",
    "armv7": "qemu-arm",
    "musl": "qemu-x86_64",
    "riscv64": "qemu-riscv64",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cruntime")


def program(check: str, variant: Variant, folder: Path) -> Path:
    made = folder / f"{check}-{variant.name}"
    return made if made.exists() else variant.program(check, folder)


def emulator(variant: Variant) -> str:
    name = EMULATORS[variant.name]
    command = shutil.which(f"{name}-static") or shutil.which(name)
    return command or missing(f"{name} (Debian's qemu-user-static) is not installed")


def every(*checks: str) -> list[tuple[str, str]]:
    return [(check, name) for check in checks for name in CHECKS[check].split()]


@pytest.mark.parametrize("variant", [GCC, ADDRESSES], ids=lambda variant: variant.name)
@pytest.mark.parametrize(("check", "name"), every(*CHECKS))
def test_on_this_machine(check: str, name: str, variant: Variant, folder: Path) -> None:
    run(program(check, variant, folder), name)


@pytest.mark.parametrize("variant", first_and_slow(ZIG, MUSL), ids=lambda variant: variant.name)
@pytest.mark.parametrize(("check", "name"), every(*CHECKS))
def test_as_zig_compiles_it(check: str, name: str, variant: Variant, folder: Path) -> None:
    run(program(check, variant, folder), name)


# ThreadSanitizer does not follow threads that are started after a fork.
@pytest.mark.parametrize(("check", "name"), every("check_threads", "check_cores"))
def test_no_data_race(check: str, name: str, folder: Path) -> None:
    run(program(check, RACES, folder), name)


@pytest.mark.parametrize("name", CHECKS["check_interface"].split())
def test_without_threads(name: str, folder: Path) -> None:
    run(program("check_interface", THREADLESS, folder), name)


@pytest.mark.slow
@pytest.mark.parametrize("variant", [AARCH64, ARMV7, RISCV64], ids=lambda variant: variant.name)
@pytest.mark.parametrize(("check", "name"), every(*CHECKS))
def test_on_other_architectures(check: str, name: str, variant: Variant, folder: Path) -> None:
    command = emulator(variant)
    if name in ("amid_a_run", "sleeping"):
        pytest.skip("qemu 7 gives a forked process what it asked to be wiped, and all states are R")
    run(program(check, variant, folder), name, command)


@pytest.mark.parametrize("feature", cpu_features.known(cpu_features.host_architecture()))
def test_what_this_cpu_lacks_is_an_error(feature: str, folder: Path) -> None:
    says = "has" if feature in cpu_features.host_features() else "lacks"
    run(program("check_feature", ZIG, folder), says, more=(feature,))


#: Of each CPU that qemu knows: features that it has, and that it lacks (the CPUs' manuals).
CPUS = [
    (MUSL, "qemu64", "sse3 cx16", "avx avx2 fma avx512f amx-tile"),
    (MUSL, "max", "avx2 fma bmi2", "avx512f avx512vnni amx-int8"),
    (AARCH64, "cortex-a53", "neon", "dotprod i8mm bf16 fullfp16"),
    (AARCH64, "cortex-a76", "neon dotprod fullfp16", "i8mm bf16"),
    (ARMV7, "cortex-a7", "neon vfp3 vfp4 hwdiv-arm", ""),
    (ARMV7, "cortex-a9", "neon vfp3", "vfp4 hwdiv-arm"),
    (RISCV64, "rv64,v=false", "m a f d c", "v"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "cpu", "there", "lacking"), CPUS, ids=lambda of: str(of)[:12])
def test_features_of_emulated_cpus(
    variant: Variant, cpu: str, there: str, lacking: str, folder: Path
) -> None:
    command = (emulator(variant), "-cpu", cpu)
    made = program("check_feature", variant, folder)
    for says, features in (("has", there), ("lacks", lacking)):
        for feature in features.split():
            run(made, says, *command, more=(feature,))


@pytest.mark.parametrize("variant", [ADDRESSES, MUSL], ids=lambda variant: variant.name)
def test_topk(variant: Variant, folder: Path) -> None:
    run(program("check_sort", variant, folder), "")


@pytest.mark.parametrize("language", ["c++11", "c++20"])
def test_the_header_is_cpp_too(language: str, tmp_path: Path) -> None:
    source = tmp_path / "program.cc"
    source.write_text(
        '#include "tvmcomp.h"\n'
        "int main() { tvmcomp_options options{}; return options.threads + (TVMCOMP_OK != 0); }\n"
    )
    include = f"-I{cruntime.include_folder()}"
    options = ["-x", "c++", f"-std={language}", *WARNINGS, include]
    output = ["-c", str(source), "-o", str(tmp_path / "program.o")]
    subprocess.run([*ZIG.compiler(), *options, *output], check=True)


class Head(ctypes.Structure):
    """The first fields of a ``tvmcomp_network``."""

    _fields_ = (
        ("abi", ctypes.c_uint32),
        ("name", ctypes.c_char_p),
        ("features", ctypes.c_char_p),
    )


def test_features_are_those_that_the_system_names(folder: Path) -> None:
    """CPUID and XCR0 against ``/proc/cpuinfo``, feature by feature."""
    library = folder / "runtime.so"
    ZIG.build(list(cruntime.sources()), library, "-shared", *cruntime.FLAGS)
    missing_feature = ctypes.CDLL(str(library)).tvmcomp_missing_feature
    missing_feature.restype = ctypes.c_char_p
    here, arch = cpu_features.host_features(), cpu_features.host_architecture()
    for name in cpu_features.known(arch):
        for features in (name, f"unknown,{name}", f"{name},unknown"):
            lacking = missing_feature(ctypes.byref(Head(1, b"", features.encode())))
            assert lacking == (None if name in here else name.encode()), features
    both = ctypes.byref(Head(1, b"", ",".join(cpu_features.known(arch)).encode()))
    lacked = [name for name in cpu_features.known(arch) if name not in here]
    assert missing_feature(both) == (lacked[0].encode() if lacked else None)
