"""Our converter of Einsum: sums, and a matrix product for each operand after the first.

    "bhid,bhjd->bhij"  ->  batch b h, rows i, depth d, columns j

Two operands at a time: letters that both have and that are needed later are the batch, letters that
both have and nothing needs any more are summed, the others are rows and columns. TVM's definition
is one loop over all letters, which no schedule makes fast.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.values import array_of, constant, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

topi = tvm.topi
relax = tvm.relax


@dataclass(frozen=True)
class _Term:
    """An operand, and the letter of each of its dimensions."""

    value: Any
    letters: str


class Einsum(Converter):
    """Einsum; an operand with one letter twice (a diagonal) is TVM's."""

    @classmethod
    def _impl_v12(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        equation = attr["equation"].decode().replace(" ", "")
        operands = [value for value in inputs if value is not None]
        terms, wanted = _parsed(equation, [shape_of(value) for value in operands])
        sizes: dict[str, set[int]] = {}
        for letters, value in zip(terms, operands, strict=True):
            for letter, size in zip(letters, shape_of(value), strict=True):
                sizes.setdefault(letter, set()).add(size)
        plain = all(len(set(letters)) == len(letters) for letters in [*terms, wanted])
        if not plain or any(len(found) > 1 for found in sizes.values()):
            return bb.emit_te(topi.einsum, equation, *operands)
        left = [_Term(value, letters) for value, letters in zip(operands, terms, strict=True)]
        current, *rest = left
        for n, other in enumerate(rest):
            later = set(wanted).union(*(term.letters for term in rest[n + 1 :]))
            first = _summed(bb, current, later | set(other.letters))
            second = _summed(bb, other, later | set(current.letters))
            # The last letter of the result is better a column: rows would have to be transposed.
            if wanted[-1:] in (*first.letters,) and wanted[-1] not in second.letters:
                first, second = second, first
            current = _product(bb, first, second, later)
        return _ordered(bb, _summed(bb, current, set(wanted)), wanted)


def _parsed(equation: str, shapes: Sequence[Sequence[int]]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, an ellipsis as letters of its own."""
    given, arrow, wanted = equation.partition("->")
    terms = given.split(",")
    if len(terms) != len(shapes):
        raise ValueError(f"its equation has {len(terms)} terms for {len(shapes)} inputs")
    free = [letter for letter in string.ascii_letters if letter not in equation]
    named = [term.replace("...", "") for term in terms]
    more = [len(shape) - len(name) for name, shape in zip(named, shapes, strict=True)]
    if any(n < 0 or (n > 0 and "..." not in term) for n, term in zip(more, terms, strict=True)):
        raise ValueError("its equation does not fit the ranks of its inputs")
    most = max(more)
    letters = "".join(free[:most])
    spelled = [
        term.replace("...", letters[most - n :]) for term, n in zip(terms, more, strict=True)
    ]
    if arrow:
        return spelled, wanted.replace("...", letters)
    once = sorted(c for c in set(given) - set(".,") if given.count(c) == 1)
    return spelled, letters + "".join(once)


def _summed(bb: Builder, term: _Term, needed: set[str]) -> _Term:
    """``term`` without the letters that nothing needs."""
    axes = [n for n, letter in enumerate(term.letters) if letter not in needed]
    if not axes:
        return term
    letters = "".join(letter for letter in term.letters if letter in needed)
    return _Term(bb.emit(relax.op.sum(term.value, axes)), letters)


def _ordered(bb: Builder, term: _Term, letters: str) -> Expr:
    """The value of ``term`` with its dimensions in the order of ``letters``."""
    if term.letters == letters:
        return term.value
    axes = [term.letters.index(letter) for letter in letters]
    array = array_of(term.value)
    if array is not None:
        return constant(array.transpose(axes))
    return bb.emit(relax.op.permute_dims(term.value, axes))


def _product(bb: Builder, left: _Term, right: _Term, needed: set[str]) -> _Term:
    """The product of two terms, summed over what both have and nothing needs."""
    shared = [letter for letter in left.letters if letter in right.letters]
    batch = "".join(letter for letter in shared if letter in needed)
    depth = "".join(letter for letter in shared if letter not in needed)
    rows = "".join(letter for letter in left.letters if letter not in shared)
    columns = "".join(letter for letter in right.letters if letter not in shared)
    size = dict(zip(left.letters + right.letters,
                    shape_of(left.value) + shape_of(right.value), strict=True))  # fmt: skip

    def extents(letters: str) -> list[int]:
        return [size[letter] for letter in letters]

    def matrix(term: _Term, first: str, second: str) -> Any:
        value = _ordered(bb, term, batch + first + second)
        shape = [*extents(batch), prod(extents(first)), prod(extents(second))]
        array = array_of(value)
        if array is not None:
            return constant(array.reshape(shape))
        return bb.emit(relax.op.reshape(value, shape))

    a, b = matrix(left, rows, depth), matrix(right, depth, columns)
    # Without a sum it is a multiplication, which broadcasts.
    product = relax.op.matmul(a, b) if depth else relax.op.multiply(a, b)
    letters = batch + rows + columns
    return _Term(bb.emit(relax.op.reshape(bb.emit(product), extents(letters))), letters)


#: ONNX operator -> converter.
EINSUM = {"Einsum": Einsum}
