"""Dot-product kernels: how a target multiplies and adds one vector of output channels.

A :class:`DotKernel` names the numeric types of a convolution or matrix product, how many output
channels (``lanes``) and input channels (``depth``) one instruction covers, and the tensor intrinsic
that emits it. Weights are packed ``[..., lanes, depth]`` to match.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tvmcomp.schedules.arm import intrinsics as arm
from tvmcomp.schedules.arm.smmla import smmla
from tvmcomp.schedules.bfloat16 import BITS, has_bfloat16
from tvmcomp.schedules.x86 import intrinsics as x86
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

#: Types whose numbers are multiplied and added up as they are, vector by vector.
MULTIPLIED = ("float32", "float64", "int32", "int64", "uint32", "uint64")
#: Vectors of channels whose accumulators fit 16 registers, with some pixels of each.
_TOGETHER = (2, 3, 5)


@dataclass(frozen=True)
class DotKernel:
    """The inner step: ``acc[lanes] += sum_depth data[depth] * weight[lanes, depth]``.

    Attributes:
        data: dtype of the activation; ``uint16`` holds the bits of bfloat16.
        weight: dtype of the packed weight, likewise.
        acc: dtype of the accumulator.
        lanes: output channels in one vector register of accumulators.
        depth: input channels reduced by one instruction.
        intrin: name of the registered tensor intrinsic; None where plain vector code is best.
        instruction: the mnemonic that the assembly must show, or None.
        pixels: output pixels in one register of accumulators, ``lanes`` channels of each.
        temporaries: registers that its steps need beside operands and accumulators.
        staged: dtype to which each task widens its part of the data before it multiplies, in a
            buffer of its own; None where the instruction takes the data as they are.
        together: whether a vector of channels alone is slow, and several go through a row of data
            together.
    """

    data: str
    weight: str
    acc: str
    lanes: int
    depth: int
    intrin: str | None = None
    instruction: str | None = None
    pixels: int = 1
    temporaries: int = 0
    staged: str | None = None
    together: bool = False

    def vectors(self, channels: int) -> int:
        """Vectors that a weight of so many output channels is padded to, with zeros.

        Where they go together, some of :data:`_TOGETHER` divide them: of 7 or 11 each would go
        alone, and takes twice as long as one of 8 or 12.
        """
        vectors = -(-channels // self.lanes)
        if self.together and vectors > 1:
            while all(vectors % count for count in _TOGETHER):
                vectors += 1
        return vectors


def _together(target: TargetDescription) -> bool:
    """Before AVX-512 no product takes a number of memory for all lanes. LLVM makes the register of
    one that is used once the product's result, and keeps the sums on the stack."""
    return target.family == "x86" and target.vector_bits < 512


def dot_kernel(
    data: str, weight: str, target: TargetDescription, row: int | None = None
) -> DotKernel | None:
    """The kernel of ``target`` for an anchor's dtypes; None where there is none.

    The one rule, for packing the weights and for scheduling what reads them: a workload says no
    more than its dtypes, so that the records of one build serve the next.

    Args:
        data, weight: dtypes of the activation and of the weight as it is stored.
        target: the device.
        row: pixels in a row of the output, where that is known. One alone makes no pair.
    """
    kernel: DotKernel | None
    if data == BITS:
        kernel = bfloat16_kernel(target, depthwise=weight != BITS)
    elif weight == "int8" and data != "float32":
        kernel = int8_kernel(target, row)
    elif data == weight and data in MULTIPLIED:
        kernel = plain_kernel(target, data)
    else:
        kernel = float_kernel(target, weight)
    return kernel if kernel and kernel.data == data else None


def plain_kernel(target: TargetDescription, dtype: str) -> DotKernel:
    """The kernel of data, weights and sums that are all of ``dtype``, one of :data:`MULTIPLIED`."""
    lanes = target.vector_bits // int(tvm.DataType(dtype).bits)
    return DotKernel(dtype, dtype, dtype, max(2, lanes), 1, together=_together(target))


def float_kernel(target: TargetDescription, weight: str = "float32") -> DotKernel:
    """The float32 kernel of ``target``; weights of 16 bits are widened as they are loaded."""
    lanes = target.vector_bits // 32
    return DotKernel("float32", weight, "float32", lanes, 1, together=_together(target))


def bfloat16_kernel(target: TargetDescription, depthwise: bool = False) -> DotKernel | None:
    """The kernel that multiplies bfloat16 and adds up in float32; None where there is none.

    A depthwise convolution has no pairs of input channels to reduce: it widens its data as it loads
    them, and its few weights stay float32.
    """
    if not has_bfloat16(target):
        return None
    if depthwise:
        return DotKernel("uint16", "float32", "float32", target.vector_bits // 32, 1)
    if target.family == "x86":
        return DotKernel("uint16", "uint16", "float32", 16, 2, x86.vdpbf16ps(), "vdpbf16ps")
    return DotKernel("uint16", "uint16", "float32", 4, 2, arm.bfdot(), "bfdot")


def has_dot_instruction(target: TargetDescription) -> bool:
    """Whether one instruction of ``target`` adds up four products of 8-bit numbers or more, so that
    it multiplies them several times as fast as float32."""
    kernel = int8_kernel(target, 1)
    return kernel.depth >= 4 and not kernel.temporaries


def bytes_kernel(target: TargetDescription) -> DotKernel:
    """The 8-bit kernel of loops that read a row's bytes where they lie, with nothing staged."""
    if target.dot_product != "pmaddwd":
        return int8_kernel(target, 1)
    lanes = target.vector_bits // 32
    name, instruction = x86.vpmaddwd(lanes), x86.multiply_add(lanes)
    return DotKernel("uint8", "int8", "int32", lanes, 4, name, instruction, temporaries=2)


def int8_kernel(target: TargetDescription, row: int | None = None) -> DotKernel:
    """The 8-bit kernel that ``target.dot_product`` asks for.

    ``row``: pixels in a row of the output, where that is known. One alone makes no pair.
    """
    dot = target.dot_product
    if dot in ("avx512_vnni", "amx_int8"):
        return DotKernel("uint8", "int8", "int32", 16, 4, x86.vpdpbusd(16), "vpdpbusd")
    if dot == "avx_vnni":
        return DotKernel("uint8", "int8", "int32", 8, 4, x86.vpdpbusd(8), "vpdpbusd")
    if dot == "pmaddwd":
        lanes = target.vector_bits // 32
        name, instruction = x86.vpmaddwd_words(lanes), x86.multiply_add(lanes)
        form = DotKernel("uint8", "int8", "int32", lanes, 2, name, instruction, temporaries=1)
        return replace(form, staged="int16", together=_together(target))
    if dot == "i8mm" and row != 1:
        return DotKernel("int8", "int8", "int32", 2, 8, smmla(), "smmla", pixels=2)
    if dot in ("sdot", "i8mm"):
        return DotKernel("int8", "int8", "int32", 4, 4, arm.sdot(), "sdot")
    if dot == "smlal" and target.triple.startswith("aarch64"):
        return DotKernel("int8", "int8", "int32", 4, 2, arm.sadalp(), "sadalp", temporaries=6)
    if dot == "smlal":
        return DotKernel("int8", "int8", "int32", 8, 1, arm.vmlal(), "vmlal")
    return DotKernel(target.activation_dtype, "int8", "int32", max(4, target.vector_bits // 32), 1)
