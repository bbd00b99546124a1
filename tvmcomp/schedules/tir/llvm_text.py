"""Functions on vectors of float32 written as LLVM IR, without any intrinsic of one target.

TVM's own expressions have no cheap way to name an intermediate result: what analyses a ``Let`` puts
its value back in place of its name, and the time to compile grows exponentially with their number.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence


class Function:
    """Writes one function of one float32 vector, in single static assignment.

    A value is its text in LLVM IR, ``%7`` or a constant. Multiplications and additions may be
    contracted to multiply-adds where the target has them.

    Attributes:
        argument: the function's argument.
    """

    argument = "%x"

    def __init__(self, lanes: int) -> None:
        self._lines: list[str] = []
        self._float = f"<{lanes} x float>" if lanes > 1 else "float"
        self._int = f"<{lanes} x i32>" if lanes > 1 else "i32"
        self._splat = lanes > 1

    def text(self, name: str, result: str) -> str:
        """The definition of the function ``name`` that returns ``result``."""
        head = f'define {self._float} @"{name}"({self._float} {self.argument}) {{'
        return "\n".join([head, *self._lines, f"  ret {self._float} {result}", "}"])

    # Constants.

    def number(self, value: float) -> str:
        """``value``, rounded to float32, in every lane."""
        # LLVM writes a float as the bits of the double that it equals.
        single = struct.unpack("f", struct.pack("f", value))[0]
        (bits,) = struct.unpack("Q", struct.pack("d", single))
        return f"splat (float 0x{bits:016X})" if self._splat else f"0x{bits:016X}"

    def integer(self, value: int) -> str:
        """The int32 ``value`` in every lane."""
        return f"splat (i32 {value})" if self._splat else str(value)

    # Arithmetic on float32.

    def add(self, a: str, b: str) -> str:
        """a + b."""
        return self._emit(f"fadd contract {self._float} {a}, {b}")

    def subtract(self, a: str, b: str) -> str:
        """a - b."""
        return self._emit(f"fsub contract {self._float} {a}, {b}")

    def multiply(self, a: str, b: str) -> str:
        """a * b."""
        return self._emit(f"fmul contract {self._float} {a}, {b}")

    def divide(self, a: str, b: str) -> str:
        """a / b."""
        return self._emit(f"fdiv {self._float} {a}, {b}")

    def multiply_add(self, a: str, b: str, c: str) -> str:
        """a * b + c."""
        return self.add(self.multiply(a, b), c)

    def exact_subtract(self, a: str, b: str) -> str:
        """a - b, where ``a`` must have been rounded."""
        return self._emit(f"fsub {self._float} {a}, {b}")

    def polynomial(self, x: str, coefficients: Sequence[float]) -> str:
        """By Horner's rule; the coefficient of the lowest power comes first."""
        *rest, result = (self.number(c) for c in coefficients)
        for coefficient in reversed(rest):
            result = self.multiply_add(result, x, coefficient)
        return result

    # Comparison: each is false of NaN.

    def where(self, a: str, comparison: str, b: str, then: str, otherwise: str) -> str:
        """``then`` where a ``lt``, ``gt`` or ``eq`` b, else ``otherwise``: floats."""
        condition = self._emit(f"fcmp o{comparison} {self._float} {a}, {b}")
        kind = self._int.replace("i32", "i1")
        return self._emit(
            f"select {kind} {condition}, {self._float} {then}, {self._float} {otherwise}"
        )

    def clamp(self, x: str, low: float, high: float) -> str:
        """``x`` between ``low`` and ``high``; NaN stays NaN."""
        at_most = self.where(x, "gt", self.number(high), self.number(high), x)
        return self.where(at_most, "lt", self.number(low), self.number(low), at_most)

    # Integers and bits.

    def bits(self, x: str) -> str:
        """The bits of a float32 as an int32."""
        return self._emit(f"bitcast {self._float} {x} to {self._int}")

    def float_of_bits(self, bits: str) -> str:
        """The float32 of these bits."""
        return self._emit(f"bitcast {self._int} {bits} to {self._float}")

    def float_of_integer(self, value: str) -> str:
        """An int32 as a float32."""
        return self._emit(f"sitofp {self._int} {value} to {self._float}")

    def integer_operation(self, operation: str, a: str, b: str) -> str:
        """``add``, ``sub``, ``shl``, ``ashr`` or ``lshr`` of int32."""
        return self._emit(f"{operation} {self._int} {a}, {b}")

    def _emit(self, operation: str) -> str:
        name = f"%v{len(self._lines)}"
        self._lines.append(f"  {name} = {operation}")
        return name


def define(name: str, lanes: int, body: Callable[[Function, str], str]) -> str:
    """LLVM IR of the function ``name`` that computes ``body`` of a vector of ``lanes``."""
    function = Function(lanes)
    return function.text(name, body(function, function.argument))
