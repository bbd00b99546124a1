"""What the compiler knows of a device: the value type that a target's TOML fills in."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from tvmcomp.targets.gpu_description import Gpu

Family = Literal["x86", "arm", "riscv", "cuda"]

#: How the target multiplies 8-bit integers and adds up in 32 bits, best first within a family.
#: ``amx_int8``, ``avx512_vnni`` and ``avx_vnni`` take u8 x s8; ``pmaddwd`` (any x86 without VNNI)
#: widens to 16 bits first; ``i8mm`` and ``sdot`` take s8 x s8; ``smlal`` widens (any NEON);
#: ``generic`` leaves it to LLVM.
DotProduct = Literal[
    "amx_int8", "avx512_vnni", "avx_vnni", "pmaddwd", "i8mm", "sdot", "smlal", "dp4a", "generic"
]

#: The architecture that starts a triple, by family; a CUDA device hangs on a host of any kind.
ARCHITECTURES: dict[Family, tuple[str, ...]] = {
    "x86": ("x86_64",),
    "arm": ("aarch64", "armv7"),
    "riscv": ("riscv64",),
    "cuda": ("x86_64", "aarch64"),
}

#: LLVM unrolls a loop of constant length as a whole up to 300 instructions. Our reductions are
#: unrolled as far as pays; made one block with their epilogue they spill their accumulators.
_AARCH64_OPTIONS = ("-unroll-threshold-aggressive:uint=100",)

#: No number of a device is near it; TVM takes 64 bits.
_MOST = 2**40
Positive = Annotated[int, msgspec.Meta(ge=1, le=_MOST)]
NotNegative = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]
#: A feature's name as LLVM spells it, without the sign that ``mattr`` puts before it.
Feature = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.\-]*$")]
CudaArch = Annotated[str, msgspec.Meta(pattern=r"^(sm_[0-9]+[af]?)?$")]


class TargetDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One device or instruction-set level.

    Attributes:
        name: what ``--target`` is given.
        description: one line for a person.
        family: selects the schedules.
        triple: LLVM target triple of the code (of the host code, for CUDA).
        cpu: LLVM CPU name, or "" for the triple's generic one.
        features: LLVM feature names without sign (``avx512vnni``, ``dotprod``).
        cores: cores that the code may assume; the parallel grain follows it.
        vector_bits: width of the widest vector register that float code should use.
        vector_registers: number of those registers.
        l1_kib, l2_kib, l3_kib: data cache sizes; l1 and l2 a core, l3 in all (0: none).
        dot_product: see :data:`DotProduct`.
        float16: float16 arithmetic in hardware.
        bfloat16: bfloat16 dot products in hardware.
        link_triple: target triple for the linker (``zig cc -target``); after ``gnu`` it may name
            the oldest glibc that the library has to load on (``aarch64-linux-gnu.2.28``).
        cuda_arch: ``sm_90`` and the like, for CUDA only.
        extra: further attributes of TVM's target for CUDA (``max_threads_per_block`` …).
        gpu: the GPU itself, for CUDA only.

    For CUDA, ``cpu``, ``features``, ``cores``, the vector registers and the caches are the host's.
    """

    name: str
    description: str
    family: Family
    triple: str
    cpu: str = ""
    features: tuple[Feature, ...] = ()
    cores: Positive = 1
    vector_bits: Literal[32, 64, 128, 256, 512] = 128
    vector_registers: Positive = 16
    l1_kib: Positive = 32
    l2_kib: NotNegative = 256
    l3_kib: NotNegative = 0
    dot_product: DotProduct = "generic"
    float16: bool = False
    bfloat16: bool = False
    link_triple: str = ""
    cuda_arch: CudaArch = ""
    extra: dict[str, int] = {}
    gpu: Gpu = Gpu()

    def __post_init__(self) -> None:
        if not self.triple.startswith(ARCHITECTURES[self.family]):
            expected = " or ".join(ARCHITECTURES[self.family])
            raise ValueError(
                f"triple {self.triple!r} does not fit family {self.family!r} (expected {expected}…)"
            )
        if (self.family == "cuda") != bool(self.cuda_arch):
            raise ValueError("cuda_arch is for family 'cuda', which needs it")

    @property
    def activation_dtype(self) -> Literal["uint8", "int8"]:
        """The activation's integer type: what the dot product takes on its left side."""
        return "uint8" if self.family == "x86" else "int8"

    @property
    def capability(self) -> int:
        """The GPU's compute capability: 90 for ``sm_90`` and ``sm_90a``; 0 without a GPU."""
        return int(self.cuda_arch.removeprefix("sm_").rstrip("af") or 0)

    def host_target_dict(self) -> dict[str, Any]:
        """The dict of TVM's target for the CPU: the whole target, or the host of a GPU."""
        host: dict[str, Any] = {"kind": "llvm", "mtriple": self.triple, "num-cores": self.cores}
        if self.cpu:
            host["mcpu"] = self.cpu
        if self.features:
            host["mattr"] = [f"+{feature}" for feature in self.features]
        if self.triple.startswith("aarch64"):
            host["cl-opt"] = list(_AARCH64_OPTIONS)
        return host

    def tvm_target_dict(self) -> dict[str, Any]:
        """The dict that ``tvm.target.Target`` is built from."""
        if self.family != "cuda":
            return self.host_target_dict()
        return {
            "kind": "cuda",
            "arch": self.cuda_arch,
            "host": self.host_target_dict(),
            **self.extra,
        }
