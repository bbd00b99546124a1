"""Functions on vectors of int32 written as LLVM IR: see :mod:`tvmcomp.schedules.tir.llvm_text`."""

from __future__ import annotations

from collections.abc import Callable


class IntegerFunction:
    """Writes one function of one int32 vector, in single static assignment.

    A value is its text in LLVM IR, ``%7`` or a constant.

    Attributes:
        argument: the function's argument.
    """

    argument = "%x"

    def __init__(self, lanes: int) -> None:
        self._lines: list[str] = []
        self._type = f"<{lanes} x i32>" if lanes > 1 else "i32"
        self._splat = lanes > 1

    def text(self, name: str, result: str) -> str:
        """The definition of the function ``name`` that returns ``result``."""
        head = f'define {self._type} @"{name}"({self._type} {self.argument}) alwaysinline {{'
        return "\n".join([head, *self._lines, f"  ret {self._type} {result}", "}"])

    def number(self, value: int) -> str:
        """``value`` in every lane."""
        return f"splat (i32 {value})" if self._splat else str(value)

    def add(self, a: str, b: str) -> str:
        """a + b."""
        return self._operation("add", a, b)

    def subtract(self, a: str, b: str) -> str:
        """a - b."""
        return self._operation("sub", a, b)

    def product(self, a: str, b: str) -> str:
        """a b / 2^15, halves up: of two fractions in 16 bits."""
        exact = self._operation("mul", a, b)
        return self.shift_right(self.add(exact, self.number(1 << 14)), 15)

    def scaled(self, x: str, mantissa: int) -> str:
        """x mantissa / 2^31, halves up: x is any number, the mantissa below 2^31."""
        wide = self._type.replace("i32", "i64")
        factor, half = (
            f"splat (i64 {value})" if self._splat else str(value) for value in (mantissa, 1 << 30)
        )
        shift = "splat (i64 31)" if self._splat else "31"
        exact = self._emit(f"sext {self._type} {x} to {wide}")
        exact = self._emit(f"mul {wide} {exact}, {factor}")
        exact = self._emit(f"add {wide} {exact}, {half}")
        exact = self._emit(f"lshr {wide} {exact}, {shift}")  # of which 32 bits are kept
        return self._emit(f"trunc {wide} {exact} to {self._type}")

    def halved(self, x: str, times: int) -> str:
        """x / 2^times, halves away from 0; at least once."""
        away = self.add(x, self.shift_right(x, 31))
        half = self.shift_right(away, times - 1) if times > 1 else away
        return self.shift_right(self.add(half, self.number(1)), 1)

    def bits(self, x: str, mask: int) -> str:
        """Those bits of x that are set in ``mask``."""
        return self._operation("and", x, self.number(mask))

    def shift_left(self, x: str, bits: int) -> str:
        """x 2^bits."""
        return self._operation("shl", x, self.number(bits))

    def shift_right(self, x: str, bits: int) -> str:
        """x / 2^bits, rounded down."""
        return self._operation("ashr", x, self.number(bits))

    def where(self, a: str, comparison: str, b: str, then: str, otherwise: str) -> str:
        """``then`` where a ``eq``, ``slt`` or ``sgt`` b, else ``otherwise``."""
        condition = self._emit(f"icmp {comparison} {self._type} {a}, {b}")
        kind = self._type.replace("i32", "i1")
        return self._emit(
            f"select {kind} {condition}, {self._type} {then}, {self._type} {otherwise}"
        )

    def smaller(self, a: str, b: str) -> str:
        """The smaller of a and b."""
        return self.where(a, "slt", b, a, b)

    def at_most(self, x: str, most: int) -> str:
        """x, or ``most`` where that is smaller."""
        return self.smaller(x, self.number(most))

    def _operation(self, operation: str, a: str, b: str) -> str:
        return self._emit(f"{operation} {self._type} {a}, {b}")

    def _emit(self, operation: str) -> str:
        name = f"%v{len(self._lines)}"
        self._lines.append(f"  {name} = {operation}")
        return name


def define_integers(name: str, lanes: int, body: Callable[[IntegerFunction, str], str]) -> str:
    """LLVM IR of the function ``name`` that computes ``body`` of a vector of ``lanes`` int32."""
    function = IntegerFunction(lanes)
    return function.text(name, body(function, function.argument))
