"""The ``native`` target: what this machine is, from feature flags and never from the CPU's name.

LLVM guesses a CPU by its family and model, which virtual machines and new CPUs get wrong; the
flags are what the kernel lets a program use.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
from pathlib import Path
from typing import NamedTuple

from tvmcomp.errors import TargetError
from tvmcomp.targets import features as cpu_features
from tvmcomp.targets.description import DotProduct, Family, TargetDescription

_V2 = {"cx16", "popcnt", "sse3", "ssse3", "sse4.1", "sse4.2"}
_V3 = _V2 | {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"}
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_AMX = {"amx-tile", "amx-int8", "amx-bf16"}


class _Level(NamedTuple):
    """What the feature flags decide."""

    family: Family
    cpu: str
    features: frozenset[str]
    vector_bits: int
    vector_registers: int
    dot_product: DotProduct
    float16: bool
    bfloat16: bool


def detect(root: Path = Path("/")) -> TargetDescription:
    """Describe the CPU of this machine.

    Args:
        root: where ``proc`` and ``sys`` are found; tests give another one.

    Raises:
        TargetError: this is not Linux, or an architecture that no code is made for.
    """
    arch = cpu_features.host_architecture()
    if platform.system() != "Linux" or arch not in ("x86_64", "aarch64", "armv7", "riscv64"):
        raise TargetError(
            f"can't tell the features of a {platform.system()} machine of type {arch}",
            where="target native",
            hint="Name a target instead: see `tvmcomp targets list`.",
        )
    level = _level(arch, cpu_features.host_features(root))
    libc = _libc(arch)
    cpus = sorted(os.sched_getaffinity(0))
    caches = _cache_kib(root, cpus[0])
    return TargetDescription(
        name="native",
        description=f"this machine ({_model_name(root) or arch})",
        family=level.family,
        triple=f"{'armv7l' if arch == 'armv7' else arch}-linux-{libc}",
        cpu=level.cpu,
        features=tuple(sorted(level.features)),
        cores=_cores_granted(root, cpus),
        vector_bits=level.vector_bits,  # type: ignore[arg-type]  # one of the literals
        vector_registers=level.vector_registers,
        l1_kib=caches.get(1, 32),
        l2_kib=caches.get(2, 256),
        l3_kib=caches.get(3, 0),
        dot_product=level.dot_product,
        float16=level.float16,
        bfloat16=level.bfloat16,
        # TVM's own wheel needs glibc 2.28, so no machine that runs the code has an older one.
        link_triple=f"{'arm' if arch == 'armv7' else arch}-linux-{libc}"
        + (".2.28" if libc.startswith("gnu") else ""),
    )


def _level(arch: str, flags: frozenset[str]) -> _Level:
    if arch == "x86_64":
        return _x86_level(flags)
    if arch == "aarch64":
        # The schedules use fixed-width NEON: SVE stays off, so that LLVM does not mix it in.
        usable = flags - {"sve", "sve2"}
        dot: DotProduct = "i8mm" if "i8mm" in flags else "sdot" if "dotprod" in flags else "smlal"
        return _Level("arm", "", usable, 128, 32, dot, "fullfp16" in flags, "bf16" in flags)
    if arch == "armv7":
        dot = "smlal" if "neon" in flags else "generic"
        return _Level("arm", "", flags, 128 if "neon" in flags else 32, 16, dot, False, False)
    # The vector extension has no fixed width to schedule for: leave it to LLVM.
    return _Level("riscv", "generic-rv64", flags - {"v"}, 32, 32, "generic", False, False)


def _x86_level(flags: frozenset[str]) -> _Level:
    if not flags >= _V4:
        flags -= {name for name in flags if name.startswith("avx512")}
    if not _kernel_grants_amx():
        flags -= _AMX
    float16, bfloat16 = "avx512fp16" in flags, not flags.isdisjoint({"avx512bf16", "amx-bf16"})
    dot: DotProduct = "pmaddwd"
    if flags >= _V4:
        if "avx512vnni" in flags:
            dot = "amx_int8" if flags >= {"amx-tile", "amx-int8"} else "avx512_vnni"
        return _Level("x86", "x86-64-v4", flags, 512, 32, dot, float16, bfloat16)
    if flags >= _V3:
        dot = "avx_vnni" if "avxvnni" in flags else "pmaddwd"
        return _Level("x86", "x86-64-v3", flags, 256, 16, dot, float16, bfloat16)
    cpu = "x86-64-v2" if flags >= _V2 else "x86-64"
    # A machine without all of AVX2's level is given none of its instructions.
    return _Level("x86", cpu, flags & _V2, 128, 16, dot, False, False)


def _kernel_grants_amx() -> bool:
    """Ask whether the kernel saves AMX's tile registers: the CPU's flag alone does not say so."""
    syscall_arch_prctl, get_xcomp_supp, tile_data = 158, 0x1021, 18
    supported = ctypes.c_uint64()
    status = ctypes.CDLL(None).syscall(syscall_arch_prctl, get_xcomp_supp, ctypes.byref(supported))
    return status == 0 and bool(supported.value >> tile_data & 1)


def _libc(arch: str) -> str:
    libc = cpu_features.host_libc()
    return f"{libc}eabihf" if arch == "armv7" else libc


def physical_cores(root: Path = Path("/")) -> int:
    """Count the physical cores that this process may run on."""
    return len({_siblings(root, cpu) for cpu in os.sched_getaffinity(0)})


def _cores_granted(root: Path, cpus: list[int]) -> int:
    """Count the physical cores that this process may run on and has the quota for."""
    allowed = len({_siblings(root, cpu) for cpu in cpus})
    quota = _cgroup_cpus(root)
    return max(1, min(allowed, math.ceil(quota)) if quota else allowed)


def _siblings(root: Path, cpu: int) -> str:
    """Name the physical core of ``cpu``: the list of the hardware threads that share it."""
    topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
    return _read(topology / "thread_siblings_list") or str(cpu)


def _cgroup_cpus(root: Path) -> float | None:
    """Return how many CPUs' time the control group grants, or None without a limit."""
    cgroup = root / "sys/fs/cgroup"
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")  # version 2
    if not quota:  # version 1
        quota = _read(cgroup / "cpu/cpu.cfs_quota_us")
        period = _read(cgroup / "cpu/cpu.cfs_period_us")
    if not quota.isdigit() or not period.isdigit():  # absent, "max" or "-1"
        return None
    return int(quota) / int(period)


def _cache_kib(root: Path, cpu: int) -> dict[int, int]:
    """Return {level: KiB} of the data caches; level 1 and 2 a core's share, level 3 in all."""
    sizes = {}
    for index in sorted((root / f"sys/devices/system/cpu/cpu{cpu}/cache").glob("index*")):
        level, size = _read(index / "level"), _read(index / "size")
        if _read(index / "type") == "Instruction" or not level or not size.endswith("K"):
            continue
        sharing = {_siblings(root, other) for other in _cpu_list(_read(index / "shared_cpu_list"))}
        sizes[int(level)] = int(size[:-1]) // (max(1, len(sharing)) if int(level) < 3 else 1)
    return sizes


def _cpu_list(text: str) -> list[int]:
    """Parse the kernel's list form: ``0-3,8`` is 0, 1, 2, 3, 8."""
    cpus: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return cpus


def _model_name(root: Path) -> str:
    """Return the CPU's name for a person to read; nothing is decided by it."""
    if board := _read(root / "sys/firmware/devicetree/base/model").rstrip("\0"):
        return board
    for line in _read(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
