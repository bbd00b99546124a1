"""bfloat16 arithmetic in kernels, past TVM's type system.

TVM widens everything of type bfloat16 to float32 before it generates code, so our kernels hold the
bits of a bfloat16 in a ``uint16``. What has no name on such bits is written as LLVM IR: rounding
(``vcvtneps2bf16``, ``bfcvtn``) and the dot product (``vdpbf16ps``, ``bfdot``). A kernel that calls
one of these functions carries their text in an attribute of its root block; TVM's code generator
links it and LLVM inlines it.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, PrimExpr, PrimFunc, Schedule

tirx = tvm.tirx

#: The numpy and TIR type that holds a bfloat16's bits.
BITS = "uint16"
#: Block attribute of a stage that widens bfloat16 to float32.
WIDENING = "tvmcomp.widening"
#: PrimFunc attribute: written out as one block, it can't widen what it reads of float32.
READS_FLOAT32 = "tvmcomp.reads_float32"
_ROUND = "tirx.tvmcomp.round_to_bfloat16"
#: Vectors that schedules make. Others are rounded in integer arithmetic.
_LANES = (1, 2, 4, 8, 16, 32)
_PURE = 1  # tirx::CallEffectKind::kPure
_IMPORT = "pragma_import_llvm"


def has_bfloat16(target: TargetDescription) -> bool:
    """Whether ``target`` multiplies bfloat16 with an instruction that our kernels use."""
    return target.bfloat16 and (target.family in _DOT and target.triple.startswith(_ARCHITECTURE))


def bfloat16_bits(number: float) -> int:
    """The bits of ``number`` in bfloat16."""
    return int(np.array(number, ml_dtypes.bfloat16).view(BITS))


def widen(value: PrimExpr, source: str, dtype: str) -> Any:
    """``value``, of dtype ``source``, as ``dtype``.

    A ``uint16`` holds the bits of a bfloat16, which any target can widen with a shift.
    """
    if source == BITS:
        return tirx.reinterpret("float32", value.astype("uint32") << tirx.const(16, "uint32"))
    return value.astype(dtype)


def round_to_bfloat16(value: PrimExpr) -> Any:
    """The float32 TIR expression ``value`` rounded to nearest even, as the bits of a bfloat16."""
    return tirx.call_intrin(BITS, _ROUND, value)


def dot_product(acc: PrimExpr, data: Any, weight: Any, lanes: int) -> Any:
    """``acc[i] + sum_k data[k] * weight[i, k]`` over a pair ``k`` of bfloat16.

    Args:
        acc: a float32 vector of ``lanes``.
        data: a uint16 vector of 2.
        weight: a uint16 vector of ``2 * lanes``.
        lanes: of the target's vector register.
    """
    return tirx.call_pure_extern(f"float32x{lanes}", f"tvmcomp_bfdot_x{lanes}", acc, data, weight)


def inline_widening(sch: Schedule) -> None:
    """Widen bfloat16 where it is read, in registers."""
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        if WIDENING in sch.get(block).annotations:
            sch.compute_inline(block)


def import_functions(func: PrimFunc, target: TargetDescription) -> Any:
    """The unscheduled PrimFunc ``func``, able to round and multiply bfloat16 on ``target``."""
    sch = tvm.s_tir.Schedule(func)
    sch.annotate(sch.get_sblock("root"), _IMPORT, _functions(target))
    return sch.mod["main"].with_attrs(dict(func.attrs.items()) if func.attrs else {})


def _functions(target: TargetDescription) -> str:
    return "\n".join([*(_rounding(lanes) for lanes in _LANES), _DOT[target.family]])


def _rounding(lanes: int) -> str:
    def vector(element: str) -> str:
        return element if lanes == 1 else f"<{lanes} x {element}>"

    return f"""\
define {vector("i16")} @tvmcomp_round_to_bfloat16_x{lanes}({vector("float")} %x) {{
  %rounded = fptrunc {vector("float")} %x to {vector("bfloat")}
  %bits = bitcast {vector("bfloat")} %rounded to {vector("i16")}
  ret {vector("i16")} %bits
}}"""


def _product(lanes: int, intrinsic: str) -> str:
    """The function that :func:`dot_product` calls.

    The pair is broadcast as 16-bit elements: LLVM 22 finds NEON's product by one element of a
    vector in no other form.
    """
    acc, bits, pairs = f"<{lanes} x float>", f"<{2 * lanes} x i16>", f"<{2 * lanes} x bfloat>"
    mask = ", ".join(["i32 0, i32 1"] * lanes)
    return f"""\
declare {acc} @{intrinsic}({acc}, {pairs}, {pairs})
define {acc} @tvmcomp_bfdot_x{lanes}({acc} %acc, <2 x i16> %data, {bits} %weight) {{
  %all = shufflevector <2 x i16> %data, <2 x i16> poison, <{2 * lanes} x i32> <{mask}>
  %a = bitcast {bits} %all to {pairs}
  %b = bitcast {bits} %weight to {pairs}
  %sum = call {acc} @{intrinsic}({acc} %acc, {pairs} %b, {pairs} %a)
  ret {acc} %sum
}}"""


_ARCHITECTURE = ("x86_64", "aarch64")
_DOT = {
    "x86": _product(16, "llvm.x86.avx512bf16.dpbf16ps.512"),
    "arm": _product(4, "llvm.aarch64.neon.bfdot.v4f32.v8bf16"),
}


def _lower_rounding(call: Call) -> Any:
    (value,) = call.args
    lanes = tvm.runtime.DataType(str(value.ty)).lanes
    result = BITS if lanes == 1 else f"{BITS}x{lanes}"
    if lanes in _LANES:
        return tirx.call_pure_extern(result, f"tvmcomp_round_to_bfloat16_x{lanes}", value)
    # To nearest even: half a unit in the last place, less one bit where the last place is even.
    bits = tirx.reinterpret(f"uint32x{lanes}", value)

    def number(value: int) -> Any:
        return tirx.Broadcast(tirx.const(value, "uint32"), lanes)

    odd = (bits >> number(16)) & number(1)
    return ((bits + odd + number(0x7FFF)) >> number(16)).astype(result)


def _register() -> None:
    """Teach TVM the rounding operator: vectorizable, and lowered after bfloat16's own passes."""
    register = tvm.ir._ffi_api
    register.RegisterOp(_ROUND, "float32, rounded to the bits of a bfloat16")
    register.RegisterOpAttr(_ROUND, "TVectorizable", True, 10)
    register.RegisterOpAttr(_ROUND, "TCallEffectKind", _PURE, 10)
    register.RegisterOpAttr(_ROUND, "TScriptPrinterName", "tvmcomp_round_to_bfloat16", 10)
    tirx.op.register_intrin_lowering(_ROUND, "llvm", f=_lower_rounding)


_register()
