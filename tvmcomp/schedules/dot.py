"""Dot-product kernels: how a target multiplies and adds one vector of output channels.

A :class:`DotKernel` names the numeric types of a convolution or matrix product, how many output
channels (``lanes``) and input channels (``depth``) one instruction covers, and the tensor intrinsic
that emits it. Weights are packed ``[..., lanes, depth]`` to match.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvmcomp.schedules.arm import intrinsics as arm
from tvmcomp.schedules.x86 import intrinsics as x86
from tvmcomp.targets import TargetDescription


@dataclass(frozen=True)
class DotKernel:
    """The inner step: ``acc[lanes] += sum_depth data[depth] * weight[lanes, depth]``.

    Attributes:
        data: dtype of the activation.
        weight: dtype of the packed weight; ``uint16`` holds the bits of bfloat16.
        acc: dtype of the accumulator.
        lanes: output channels in one vector register of accumulators.
        depth: input channels reduced by one instruction.
        intrin: name of the registered tensor intrinsic; None where plain vector code is best.
        instruction: the mnemonic that the assembly must show, or None.
    """

    data: str
    weight: str
    acc: str
    lanes: int
    depth: int
    intrin: str | None = None
    instruction: str | None = None


def float_kernel(target: TargetDescription, weight: str = "float32") -> DotKernel:
    """The float32 kernel of ``target``; weights of 16 bits are widened as they are loaded."""
    return DotKernel("float32", weight, "float32", target.vector_bits // 32, 1)


def int8_kernel(target: TargetDescription) -> DotKernel:
    """The 8-bit kernel that ``target.dot_product`` asks for."""
    dot = target.dot_product
    if dot in ("avx512_vnni", "amx_int8"):
        return DotKernel("uint8", "int8", "int32", 16, 4, x86.vpdpbusd(16), "vpdpbusd")
    if dot == "avx_vnni":
        return DotKernel("uint8", "int8", "int32", 8, 4, x86.vpdpbusd(8), "vpdpbusd")
    if dot == "pmaddwd":
        lanes = 16 if target.vector_bits >= 512 else 8
        return DotKernel("uint8", "int8", "int32", lanes, 2, x86.vpmaddwd(lanes), "vpmaddwd")
    if dot in ("sdot", "i8mm"):
        return DotKernel("int8", "int8", "int32", 4, 4, arm.sdot(), "sdot")
    if dot == "smlal":
        is64 = target.triple.startswith("aarch64")
        return DotKernel(
            "int8", "int8", "int32", 8, 1, arm.smlal(is64), "smlal" if is64 else "vmlal"
        )
    return DotKernel(target.activation_dtype, "int8", "int32", max(4, target.vector_bits // 32), 1)
