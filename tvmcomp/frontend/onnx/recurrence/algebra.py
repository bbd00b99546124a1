"""What the body of a loop computes, as sums: equal computations become equal sums.

    σ(x W + h R + b) ⊙ c  +  …   =   Σ  coefficient · monomial

A monomial is an element-wise product of atoms: a slice of an input, a state, a function of a sum,
or a sum that a product holds together. A coefficient of one dimension multiplies each element, one
of two is a matrix that the monomial is multiplied by. So it is the same whether a layer's gates are
made by one product or by four, are split before or after their functions, and how its bias is
spread.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np


class NotRecurrent(Exception):
    """The loop is no recurrent layer that is known here."""


@dataclass(frozen=True)
class Atom:
    """What sums are made of; two of one key are the same.

    Attributes:
        key: tells it from all others.
        width: its last dimension.
        function: ``input``, ``state``, ``sum``, or a function's name as an LSTM node has it.
        inner: what the function is of, or the sum.
        name: of an input's slice or a state.
    """

    key: str
    width: int
    function: str
    name: str = ""
    alpha: float = 0.0
    beta: float = 0.0
    inner: Sum | None = field(default=None, compare=False)

    @property
    def is_leaf(self) -> bool:
        """Whether it comes from outside of the body."""
        return self.inner is None


Monomial = tuple[Atom, ...]


@dataclass(frozen=True)
class Sum:
    """A tensor ``[rows…, width]``.

    Attributes:
        shape: of the tensor.
        terms: coefficients of monomials, in float64: ``[width]``, or ``[width of it, width]``.
    """

    shape: tuple[int, ...]
    terms: dict[Monomial, np.ndarray]

    @property
    def width(self) -> int:
        """The last dimension."""
        return self.shape[-1]

    @property
    def rows(self) -> int:
        """The product of the other dimensions."""
        return math.prod(self.shape[:-1])

    @cached_property
    def key(self) -> str:
        """Equal for equal sums, whatever their rows' shape."""
        digest = hashlib.sha256(str(self.width).encode())
        for monomial in sorted(self.terms, key=_names):
            coefficient = self.terms[monomial]
            digest.update(repr((_names(monomial), coefficient.shape)).encode())
            digest.update(coefficient.tobytes())
        return digest.hexdigest()

    def as_rows_of(self, shape: tuple[int, ...]) -> Sum:
        """The same with its rows in another shape.

        Raises:
            NotRecurrent: they aren't its rows.
        """
        if not shape or shape[-1] != self.width or math.prod(shape[:-1]) != self.rows:
            raise NotRecurrent(f"{self.shape} becomes {shape}")
        return Sum(shape, self.terms)


def _names(monomial: Monomial) -> tuple[str, ...]:
    return tuple(atom.key for atom in monomial)


def _sum(shape: tuple[int, ...], terms: dict[Monomial, np.ndarray]) -> Sum:
    return Sum(shape, {m: c for m, c in terms.items() if np.any(c)})


def leaf(function: str, name: str, shape: tuple[int, ...]) -> Sum:
    """A slice of an input (``input``), or what is carried (``state``)."""
    atom = Atom(f"{function}:{name}", shape[-1], function, name)
    return _sum(shape, {(atom,): np.ones(shape[-1])})


def constant(array: np.ndarray, width: int, rows: tuple[int, ...]) -> Sum:
    """An array whose rows are all the same, as ``rows`` of ``width``.

    Raises:
        NotRecurrent: they are not, or there are more of them.
    """
    shape = (*rows, width)
    if array.ndim > len(shape) or any(
        size not in (1, wanted)
        for size, wanted in zip(array.shape[::-1], shape[::-1], strict=False)
    ):
        raise NotRecurrent(f"a constant of {array.shape} meets {shape}")
    flat = array.astype(np.float64).reshape(-1, array.shape[-1] if array.ndim else 1)
    if (flat != flat[:1]).any() or not np.isfinite(flat).all():
        raise NotRecurrent("a constant of many rows")
    return _sum(shape, {(): np.broadcast_to(flat[0], (width,)).copy()})


def add(a: Sum, b: Sum) -> Sum:
    """``a + b``."""
    shape = _common(a, b)
    terms = dict(a.terms)
    for monomial, coefficient in b.terms.items():
        before = terms.get(monomial)
        terms[monomial] = coefficient if before is None else _added(before, coefficient)
    return _sum(shape, terms)


def scale(a: Sum, factors: np.ndarray) -> Sum:
    """``a`` times ``factors``, one number or ``[width]``."""
    return _sum(a.shape, {m: c * factors for m, c in a.terms.items()})


def product(a: Sum, b: Sum) -> Sum:
    """``a ⊙ b``."""
    shape = _common(a, b)
    terms: dict[Monomial, np.ndarray] = {}
    for left, x in _held(a).items():
        for right, y in _held(b).items():
            monomial = tuple(sorted((*left, *right), key=lambda atom: atom.key))
            terms[monomial] = terms.get(monomial, 0) + x * y
    return _sum(shape, terms)


def apply(function: str, a: Sum, alpha: float = 0.0, beta: float = 0.0) -> Sum:
    """A function of each element."""
    key = hashlib.sha256(f"{function} {alpha} {beta} {a.key}".encode()).hexdigest()
    atom = Atom(key, a.width, function, alpha=alpha, beta=beta, inner=a)
    return _sum(a.shape, {(atom,): np.ones(a.width)})


def matmul(a: Sum, matrix: np.ndarray) -> Sum:
    """``a [rows…, k] @ matrix [k, n]``."""
    if matrix.ndim != 2 or matrix.shape[0] != a.width:
        raise NotRecurrent("a product that is not of rows with a matrix")
    matrix = matrix.astype(np.float64)
    terms = {
        monomial: coefficient @ matrix
        if coefficient.ndim == 2 or not monomial
        else coefficient[:, None] * matrix
        for monomial, coefficient in a.terms.items()
    }
    return _sum((*a.shape[:-1], matrix.shape[1]), terms)


def columns(a: Sum, begin: int, end: int) -> Sum:
    """``a[…, begin:end]``."""
    terms: dict[Monomial, np.ndarray] = {}
    for monomial, coefficient in a.terms.items():
        if coefficient.ndim == 2:
            key, part = monomial, coefficient[:, begin:end]
        elif len(monomial) == 1 and monomial[0].is_leaf:
            key, part = monomial, np.diag(coefficient)[:, begin:end]
        else:
            key = tuple(sorted((_columns(m, begin, end) for m in monomial), key=lambda m: m.key))
            part = coefficient[begin:end]
        terms[key] = terms.get(key, 0) + part
    return _sum((*a.shape[:-1], end - begin), terms)


def concatenate(parts: list[Sum]) -> Sum:
    """The columns of all, one after the other."""
    total = sum(part.width for part in parts)
    if len({part.shape[:-1] for part in parts}) != 1:
        raise NotRecurrent("parts of different rows are put together")
    whole, begin = _sum((*parts[0].shape[:-1], total), {}), 0
    for part in parts:
        place = np.eye(part.width, total, begin)
        whole, begin = add(whole, matmul(part, place)), begin + part.width
    return whole


def _columns(atom: Atom, begin: int, end: int) -> Atom:
    if atom.inner is None:
        raise NotRecurrent("a part of a state is multiplied")
    inner = columns(atom.inner, begin, end)
    if atom.function == "sum":
        return _held_together(inner)
    ((made,),) = apply(atom.function, inner, atom.alpha, atom.beta).terms
    return made


def _held_together(a: Sum) -> Atom:
    return Atom(f"sum:{a.key}", a.width, "sum", inner=a)


def _held(a: Sum) -> dict[Monomial, np.ndarray]:
    """The terms of ``a`` as a factor: a sum with products of matrices in it is one atom."""
    if any(coefficient.ndim == 2 for coefficient in a.terms.values()):
        return {(_held_together(a),): np.ones(a.width)}
    return a.terms


def _added(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.ndim != y.ndim:
        x, y = (np.diag(each) if each.ndim == 1 else each for each in (x, y))
    total: np.ndarray = x + y
    return total


def _common(a: Sum, b: Sum) -> tuple[int, ...]:
    shape = np.broadcast_shapes(a.shape, b.shape) if a.width == b.width else ()
    if not a.rows == b.rows == math.prod(shape[:-1]) or not shape:
        raise NotRecurrent(f"{a.shape} meets {b.shape}")
    return shape
