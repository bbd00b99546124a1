"""CPU features: LLVM's name of each beside the kernel's, and which of them this machine has."""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path

#: LLVM's name -> the flag in ``/proc/cpuinfo``, for every x86 feature that compiled code may use.
X86_FLAGS = {
    "cx16": "cx16",
    "popcnt": "popcnt",
    "sse3": "pni",
    "ssse3": "ssse3",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "avx": "avx",
    "avx2": "avx2",
    "bmi": "bmi1",
    "bmi2": "bmi2",
    "f16c": "f16c",
    "fma": "fma",
    "lzcnt": "abm",
    "movbe": "movbe",
    "avxvnni": "avx_vnni",
    "avx512f": "avx512f",
    "avx512bw": "avx512bw",
    "avx512cd": "avx512cd",
    "avx512dq": "avx512dq",
    "avx512vl": "avx512vl",
    "avx512vnni": "avx512_vnni",
    "avx512bf16": "avx512_bf16",
    "avx512fp16": "avx512_fp16",
    "avx512ifma": "avx512ifma",
    "avx512vbmi": "avx512vbmi",
    "avx512vbmi2": "avx512_vbmi2",
    "avx512bitalg": "avx512_bitalg",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "gfni": "gfni",
    "amx-tile": "amx_tile",
    "amx-int8": "amx_int8",
    "amx-bf16": "amx_bf16",
}

# Off x86 the features are read from the auxiliary vector and not from /proc/cpuinfo: it says the
# same, and user-mode emulators, which show the host's cpuinfo, fill it in correctly.
_AT_HWCAP, _AT_HWCAP2 = 16, 26
#: LLVM's name -> (entry of the auxiliary vector, bit), from the kernel's ``asm/hwcap.h``.
_AARCH64_BITS = {
    "neon": (_AT_HWCAP, 1),
    "lse": (_AT_HWCAP, 8),
    "fullfp16": (_AT_HWCAP, 10),
    "rdm": (_AT_HWCAP, 12),
    "jsconv": (_AT_HWCAP, 13),
    "complxnum": (_AT_HWCAP, 14),
    "rcpc": (_AT_HWCAP, 15),
    "dotprod": (_AT_HWCAP, 20),
    "sve": (_AT_HWCAP, 22),
    "fp16fml": (_AT_HWCAP, 23),
    "sve2": (_AT_HWCAP2, 1),
    "i8mm": (_AT_HWCAP2, 13),
    "bf16": (_AT_HWCAP2, 14),
}
_ARMV7_BITS = {
    "neon": (_AT_HWCAP, 12),
    "vfp3": (_AT_HWCAP, 13),
    "vfp4": (_AT_HWCAP, 16),
    "hwdiv-arm": (_AT_HWCAP, 17),
}
_RISCV64_BITS = {letter: (_AT_HWCAP, ord(letter) - ord("a")) for letter in "macfdv"}
_HWCAP_BITS = {"aarch64": _AARCH64_BITS, "armv7": _ARMV7_BITS, "riscv64": _RISCV64_BITS}


def architecture(triple_or_machine: str) -> str:
    """Return the first part of a triple, or of ``uname -m``, in the one spelling used here.

    One of ``x86_64``, ``aarch64``, ``armv7``, ``riscv64``, or the unknown name itself.
    """
    name = triple_or_machine.split("-")[0]
    if name.startswith("armv7"):
        return "armv7"
    return {"amd64": "x86_64", "AMD64": "x86_64", "arm64": "aarch64"}.get(name, name)


def known(arch: str) -> tuple[str, ...]:
    """Return LLVM's names of the features of ``arch`` that are told apart here."""
    return tuple(X86_FLAGS if arch == "x86_64" else _HWCAP_BITS.get(arch, {}))


def host_architecture() -> str:
    """Return the architecture that this process runs as, as :func:`architecture` spells it."""
    arch = architecture(platform.machine())
    # A 32-bit system on a 64-bit kernel, as Raspberry Pi OS has been for years.
    return "armv7" if arch == "aarch64" and sys.maxsize < 2**32 else arch


def host_libc() -> str:
    """Return the C library of this system as triples name it: ``gnu`` or ``musl``."""
    return "gnu" if platform.libc_ver()[0] == "glibc" else "musl"


def host_features(root: Path = Path("/")) -> frozenset[str]:
    """Return LLVM's names of the :func:`known` features that this machine's CPU has."""
    arch = host_architecture()
    if arch == "x86_64":
        flags = _cpuinfo_flags(root / "proc/cpuinfo")
        return frozenset(name for name, flag in X86_FLAGS.items() if flag in flags)
    bits = _HWCAP_BITS.get(arch, {})
    return frozenset(name for name, (entry, bit) in bits.items() if _auxval(entry) >> bit & 1)


def _cpuinfo_flags(cpuinfo: Path) -> set[str]:
    for line in cpuinfo.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return set(value.split())
    return set()


def _auxval(entry: int) -> int:
    getauxval = ctypes.CDLL(None).getauxval
    getauxval.argtypes, getauxval.restype = [ctypes.c_ulong], ctypes.c_ulong
    return int(getauxval(entry))
