"""Detection from feature flags, sysfs and control groups of machines that are not this one."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from tvmcomp.errors import TargetError
from tvmcomp.targets import features as cpu_features
from tvmcomp.targets import host

V2 = "cx16 popcnt pni ssse3 sse4_1 sse4_2"
V3 = V2 + " avx avx2 bmi1 bmi2 f16c fma abm movbe"
V4 = V3 + " avx512f avx512bw avx512cd avx512dq avx512vl"
SAPPHIRE_RAPIDS = V4 + " avx_vnni avx512_vnni avx512_bf16 avx512_fp16 amx_tile amx_int8 amx_bf16"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of an x86-64 machine with 4 hardware threads on 2 cores and no cpuinfo yet."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(host, "_kernel_grants_amx", lambda: True)
    for cpu, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        write(tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", siblings)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def set_flags(root: Path, flags: str, name: str = "Some CPU") -> None:
    write(root / "proc/cpuinfo", f"processor\t: 0\nmodel name\t: {name}\nflags\t\t: fpu {flags}")


@pytest.mark.parametrize(
    ("flags", "cpu", "dot_product", "bits", "registers"),
    [
        (V2, "x86-64-v2", "pmaddwd", 128, 16),
        (V2 + " avx", "x86-64-v2", "pmaddwd", 128, 16),
        (V3, "x86-64-v3", "pmaddwd", 256, 16),
        (V3 + " avx_vnni", "x86-64-v3", "avx_vnni", 256, 16),
        # AVX-512 without its byte and word instructions (Knights Landing) is no level 4.
        (V3 + " avx512f avx512cd", "x86-64-v3", "pmaddwd", 256, 16),
        (V4, "x86-64-v4", "pmaddwd", 512, 32),
        (V4 + " avx512_vnni", "x86-64-v4", "avx512_vnni", 512, 32),
        (SAPPHIRE_RAPIDS, "x86-64-v4", "amx_int8", 512, 32),
    ],
)
def test_x86_levels(
    machine: Path, flags: str, cpu: str, dot_product: str, bits: int, registers: int
) -> None:
    set_flags(machine, flags)
    target = host.detect(machine)
    assert (target.cpu, target.dot_product) == (cpu, dot_product)
    assert (target.vector_bits, target.vector_registers) == (bits, registers)
    if bits < 512:
        assert not [name for name in target.features if name.startswith("avx512")]


def test_amx_needs_the_kernel_too(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_flags(machine, SAPPHIRE_RAPIDS)
    assert host.detect(machine).float16
    monkeypatch.setattr(host, "_kernel_grants_amx", lambda: False)
    target = host.detect(machine)
    assert target.dot_product == "avx512_vnni"
    assert target.bfloat16  # by AVX512_BF16
    assert not [name for name in target.features if name.startswith("amx")]


def test_the_cpus_name_decides_nothing(machine: Path) -> None:
    set_flags(machine, V3, name="Intel(R) Xeon(R) Platinum 8480+")
    assert host.detect(machine).cpu == "x86-64-v3"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 2),
        ({"cpu.max": "max 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "400000 100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
    ],
)
def test_cores_are_physical_and_within_the_quota(
    machine: Path, files: dict[str, str], cores: int
) -> None:
    set_flags(machine, V3)
    for name, text in files.items():
        write(machine / "sys/fs/cgroup" / name, text)
    assert host.detect(machine).cores == cores


def test_cores_follow_the_affinity(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_flags(machine, V3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3})
    assert host.detect(machine).cores == 1


def test_caches_are_a_cores_share(machine: Path) -> None:
    set_flags(machine, V3)
    caches = [
        ("1", "Instruction", "64K", "0,2"),
        ("1", "Data", "48K", "0,2"),  # shared by the two threads of one core: all its own
        ("2", "Unified", "1024K", "0-3"),  # shared by the two cores
        ("3", "Unified", "16384K", "0-3"),
    ]
    for number, values in enumerate(caches):
        folder = machine / f"sys/devices/system/cpu/cpu0/cache/index{number}"
        for name, value in zip(("level", "type", "size", "shared_cpu_list"), values, strict=True):
            write(folder / name, value)
    target = host.detect(machine)
    assert (target.l1_kib, target.l2_kib, target.l3_kib) == (48, 512, 16384)


@pytest.mark.parametrize(
    ("machine_name", "hwcap", "hwcap2", "dot_product", "triple"),
    [
        ("aarch64", 0b11, 0, "smlal", "aarch64"),  # Cortex-A72
        ("aarch64", 0b11 | 1 << 10 | 1 << 20, 0, "sdot", "aarch64"),  # Cortex-A76
        ("aarch64", 0b11 | 1 << 20 | 1 << 22, 1 << 13 | 1 << 14, "i8mm", "aarch64"),
        ("armv7l", 1 << 12 | 1 << 13, 0, "smlal", "armv7l"),
        ("armv7l", 1 << 13, 0, "generic", "armv7l"),  # without NEON
        ("riscv64", 0x112D, 0, "generic", "riscv64"),  # imafdc
    ],
)
def test_other_architectures(
    machine: Path,
    monkeypatch: pytest.MonkeyPatch,
    machine_name: str,
    hwcap: int,
    hwcap2: int,
    dot_product: str,
    triple: str,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine_name)
    monkeypatch.setattr(cpu_features, "_auxval", {16: hwcap, 26: hwcap2}.__getitem__)
    target = host.detect(machine)
    assert target.dot_product == dot_product
    assert target.triple.split("-")[0] == triple
    assert target.bfloat16 == bool(hwcap2)
    assert "sve" not in target.features
    if machine_name == "riscv64":
        assert set(target.features) == set("macfd")


def test_a_board_is_called_by_its_name(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(cpu_features, "_auxval", {16: 2, 26: 0}.__getitem__)
    write(machine / "sys/firmware/devicetree/base/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    assert host.detect(machine).description == "this machine (Raspberry Pi 4 Model B Rev 1.4)"


def test_other_systems_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    with pytest.raises(TargetError, match="Darwin"):
        host.detect()
