"""Elements of 2, 4 and 8 bits that no CPU computes with: held in a wider type, as the same numbers.

int2, uint2, int4 and uint4 are held in int8 and uint8, the floats of 4 and 8 bits in float32. A
``Cast`` or ``QuantizeLinear`` to such a type rounds to the numbers that it has; reading one is
reading its number. So inputs and outputs of these types are arrays of the type that holds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from tvmcomp.frontend.onnx.values import dtype_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, PrimExpr

_T = onnx.TensorProto


@dataclass(frozen=True)
class NarrowInteger:
    """An integer type of fewer than 8 bits."""

    held: str
    bits: int

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest number."""
        if self.held == "int8":
            return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        return 0, (1 << self.bits) - 1


@dataclass(frozen=True)
class NarrowFloat:
    """A float type: ``mantissa`` bits stored, the exponent of its smallest normal numbers, its
    largest number; what one above that becomes where a cast doesn't saturate (``overflow``)."""

    mantissa: int
    lowest: int
    largest: float
    overflow: str = "nan"
    held: str = "float32"


@dataclass(frozen=True)
class Exponent:
    """float8e8m0: powers of two, 2^-127 to 2^127."""

    held: str = "float32"


Narrow = NarrowInteger | NarrowFloat | Exponent

#: ONNX's element type -> what it is.
NARROW: dict[int, Narrow] = {
    _T.INT4: NarrowInteger("int8", 4),
    _T.UINT4: NarrowInteger("uint8", 4),
    **{
        getattr(_T, name): NarrowInteger(held, 2)
        for name, held in (("INT2", "int8"), ("UINT2", "uint8"))
        if hasattr(_T, name)
    },
    _T.FLOAT8E4M3FN: NarrowFloat(3, -6, 448.0),
    _T.FLOAT8E4M3FNUZ: NarrowFloat(3, -7, 240.0),
    _T.FLOAT8E5M2: NarrowFloat(2, -14, 57344.0, "inf"),
    _T.FLOAT8E5M2FNUZ: NarrowFloat(2, -15, 57344.0),
    _T.FLOAT4E2M1: NarrowFloat(1, 0, 6.0, "largest"),
    **({_T.FLOAT8E8M0: Exponent()} if hasattr(_T, "FLOAT8E8M0") else {}),
}
#: Operators that move elements and compute nothing: their result has their input's type.
MOVES = {
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice",
    "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip


def narrow_name(element_type: int) -> str:
    """``int4``, ``float8e4m3fn``: the type as the standard calls it."""
    return str(_T.DataType.Name(element_type)).lower()


def numpy_held(element_type: int) -> np.dtype:
    """The numpy type of an array of ``element_type``: the holding one of a narrow type."""
    kind = NARROW.get(element_type)
    return (
        onnx.helper.tensor_dtype_to_np_dtype(element_type) if kind is None else np.dtype(kind.held)
    )


def follow_narrow(node: onnx.NodeProto, attributes: dict[str, Any], narrow: dict[str, int]) -> None:
    """Note what ``node`` gives in ``narrow``, the types of tensors that are narrow ones.

    Args:
        node: the next node.
        attributes: its; the type that it casts or quantizes to is added.
        narrow: changed in place.

    Raises:
        ValueError: it computes with a narrow type.
    """
    kinds = [narrow.get(name) for name in node.input]
    gives: int | None = None
    if node.op_type in MOVES:
        gives = kinds[0] if kinds else None
    elif node.op_type == "CastLike" and kinds[1] is not None:
        gives = attributes["to"] = kinds[1]
    elif node.op_type == "Cast":
        gives = attributes["to"]
    elif node.op_type == "QuantizeLinear":
        if len(kinds) > 2 and kinds[2] is not None:
            attributes["output_dtype"] = kinds[2]
        gives = attributes.get("output_dtype")
    elif node.op_type not in ("CastLike", "DequantizeLinear") and any(kinds):
        index = next(i for i, kind in enumerate(kinds) if kind is not None)
        raise ValueError(
            f"its input {node.input[index]!r} is {narrow_name(kinds[index] or 0)}, which can "
            "be cast, quantized to, dequantized and moved, but not computed with"
        )
    if gives in NARROW:
        narrow.update((name, gives) for name in node.output)


def cast_to_narrow(bb: Builder, data: Expr, element_type: int, attr: dict[str, Any]) -> Expr:
    """``data``, numbers of any type, as numbers of a narrow type in the type that holds it.

    Floats are rounded half to even; above the largest number they saturate, or become NaN or
    infinite without ``saturate``. Integers keep their low bits, of floats cut toward zero.
    """
    kind = NARROW[element_type]
    if isinstance(kind, NarrowInteger):
        wide = bb.emit(_astype(data, "int32"))
        return bb.emit_te(_elementwise(lambda x: _low_bits(x, kind)), wide)
    wide = bb.emit(_astype(data, "float32"))
    saturate = bool(attr.get("saturate", 1))
    if isinstance(kind, Exponent):
        mode = attr.get("round_mode", b"up")
        return bb.emit_te(_elementwise(lambda x: _power_of_two(x, mode, saturate)), wide)
    return bb.emit_te(_elementwise(lambda x: _rounded(x, kind, saturate)), wide)


def _elementwise(function: Any) -> Any:
    def compute(x: Any) -> Any:
        return tvm.te.compute(x.shape, lambda *i: function(x(*i)), name="narrow")

    return compute


def _astype(data: Expr, dtype: str) -> Any:
    return data if dtype_of(data) == dtype else tvm.relax.op.astype(data, dtype)


def _low_bits(x: PrimExpr, kind: NarrowInteger) -> Any:
    mask, sign = (tvm.tirx.const(v, "int32") for v in ((1 << kind.bits) - 1, 1 << (kind.bits - 1)))
    low = tvm.tirx.bitwise_and(x, mask)
    if kind.held == "int8":
        low = tvm.tirx.bitwise_xor(low, sign) - sign
    return low.astype(kind.held)


def _rounded(x: PrimExpr, kind: NarrowFloat, saturate: bool) -> Any:
    """``x`` as a multiple of what one step of the type is at its exponent."""
    exponent = tvm.tirx.max(_exponent(x) - 127, tvm.tirx.const(kind.lowest, "int32"))
    exponent = tvm.tirx.min(exponent, tvm.tirx.const(127, "int32"))  # infinity, NaN
    step = exponent - kind.mantissa
    near = tvm.tirx.nearbyint(x * _two_to(-step)) * _two_to(step)
    # The types ending in uz have no negative zero.
    near = tvm.tirx.Select(near == _number(0), _number(0), near)
    over = tvm.tirx.Select(x > _number(0), _number(kind.largest), _number(-kind.largest))
    if not saturate and kind.overflow != "largest":
        beyond = _number(np.inf if kind.overflow == "inf" else np.nan)
        over = tvm.tirx.Select(x > _number(0), beyond, -beyond)
    if kind.overflow == "largest":  # a type without NaN
        near = tvm.tirx.Select(tvm.tirx.isnan(x), _number(0), near)
    return tvm.tirx.Select(tvm.tirx.abs(near) > _number(kind.largest), over, near)


def _power_of_two(x: PrimExpr, mode: bytes, saturate: bool) -> Any:
    exponent = _exponent(x)
    fraction = tvm.tirx.bitwise_and(_bits(x), tvm.tirx.const(0x7FFFFF, "int32"))
    last = tvm.tirx.const(0 if mode == b"down" else 1, "int32")
    # Above half, as the standard's reference has it: at half it goes up where it is normal.
    least = tvm.tirx.const(0x400000 if mode == b"nearest" else 1, "int32")
    up = tvm.tirx.Select(fraction >= least, last, tvm.tirx.const(0, "int32"))
    if mode == b"nearest":
        half = tvm.tirx.all(exponent == 0, fraction == least)
        up = tvm.tirx.Select(half, tvm.tirx.const(0, "int32"), up)
    raised = exponent + up
    if saturate:
        raised = tvm.tirx.min(raised, tvm.tirx.const(254, "int32"))
    # 2^-127 is half the smallest normal number of float32.
    power = tvm.tirx.Select(raised == 0, _number(2.0**-127), _two_to(raised - 127))
    special = tvm.tirx.any(exponent == 255, raised == 255)
    return tvm.tirx.Select(special, _number(np.nan), power)


def _bits(x: PrimExpr) -> Any:
    return tvm.tirx.reinterpret("int32", x)


def _exponent(x: PrimExpr) -> Any:
    """The exponent as float32 stores it, 0 to 255."""
    shifted = tvm.tirx.shift_right(_bits(x), tvm.tirx.const(23, "int32"))
    return tvm.tirx.bitwise_and(shifted, tvm.tirx.const(255, "int32"))


def _two_to(power: PrimExpr) -> Any:
    stored = tvm.tirx.shift_left(power + 127, tvm.tirx.const(23, "int32"))
    return tvm.tirx.reinterpret("float32", stored)


def _number(value: float) -> Any:
    return tvm.tirx.const(value, "float32")
