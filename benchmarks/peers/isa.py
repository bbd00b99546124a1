"""Which instructions the engines may use, and what can be said of this machine's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

#: What matters to the speed of a network, as Linux names it.
_FLAGS = (
    *("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16"),
)
_VNNI = {"avx_vnni", "avx512_vnni"}


@dataclass(frozen=True)
class Isa:
    """An instruction set that ours is built for and the peers are held to.

    Attributes:
        target: tvmcomp's.
        onednn: for ONEDNN_MAX_CPU_ISA, which OpenVINO's kernels heed; empty sets no limit.
        reduce_range: whether 8-bit products would overflow there in ONNX Runtime's kernels.
    """

    target: str
    onednn: str
    reduce_range: bool

    @property
    def environment(self) -> dict[str, str]:
        """What to add to the environment of an engine."""
        return {"ONEDNN_MAX_CPU_ISA": self.onednn} if self.onednn else {}

    @property
    def note(self) -> str:
        """How the engines were held to it, for the report; empty where they weren't."""
        if not self.onednn:
            return ""
        return (
            f"ours is built for {self.target}; OpenVINO is held by ONEDNN_MAX_CPU_ISA="
            f"{self.onednn}, which its oneDNN and JIT kernels heed; ONNX Runtime has no such "
            "switch and uses all that the CPU has, so its latency is shown but not counted"
        )

    @property
    def held(self) -> tuple[str, ...]:
        """The peers that count in the comparison."""
        return ("openvino",) if self.onednn else ("onnxruntime", "openvino")


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    """The instruction sets of this machine, as Linux names them."""
    for line in cpuinfo.read_text().splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


def isas() -> dict[str, Isa]:
    """Every choice. ONNX Runtime can't be held, so its weights' range follows the machine."""
    reduce_range = not (cpu_flags() & _VNNI)
    return {
        "native": Isa("native", "", reduce_range),
        "avx2": Isa("x86-64-v3", "AVX2", reduce_range),
        "avx512": Isa("x86-64-v4", "AVX512_CORE", reduce_range),
        "vnni": Isa("cascadelake", "AVX512_CORE_VNNI", reduce_range),
    }


def machine() -> dict[str, object]:
    """What this machine is: its CPU, how many of them, and which of the fast instructions."""
    flags = cpu_flags()
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": names[0] if names else "unknown",
        "cpus": len(os.sched_getaffinity(0)),
        "has": [flag for flag in _FLAGS if flag in flags],
        "lacks": [flag for flag in _FLAGS if flag not in flags],
    }
