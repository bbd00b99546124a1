"""Views: reading a tensor through permutations, reshapes, slices and broadcasts, with no copy.

A view's dimensions are made of atoms, each a run through one dimension of the source tensor.
Splitting 384 channels into 12 heads of 32 makes two atoms of one dimension; permuting moves atoms;
merging dimensions puts several atoms into one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from tvmcomp.tvm_types import PrimExpr


@dataclass(frozen=True)
class Atom:
    """``extent`` steps of ``stride`` elements along dimension ``axis`` of the source.

    A broadcast repeats: its ``axis`` is None.
    """

    axis: int | None
    extent: int
    stride: int = 1


@dataclass(frozen=True)
class View:
    """A tensor as it appears after permutations, reshapes, slices and broadcasts.

    Attributes:
        source: the shape of the tensor in memory.
        dims: the atoms of each dimension of the view, outermost first; none for an extent of 1.
        offset: where the view starts in each dimension of the source.
    """

    source: tuple[int, ...]
    dims: tuple[tuple[Atom, ...], ...]
    offset: tuple[int, ...]

    @staticmethod
    def of(shape: Sequence[int]) -> View:
        """A tensor of ``shape`` as it is."""
        atoms = (_joined([Atom(axis, extent)]) for axis, extent in enumerate(shape))
        return View(tuple(shape), tuple(atoms), (0,) * len(shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """The view's shape."""
        return tuple(prod(atom.extent for atom in dim) for dim in self.dims)

    def permute(self, axes: Sequence[int]) -> View:
        """Dimension ``i`` becomes the present ``axes[i]``."""
        return replace(self, dims=tuple(self.dims[axis] for axis in axes))

    def reshape(self, shape: Sequence[int]) -> View | None:
        """The same elements in order, as ``shape``; None where that is no view."""
        pending = [atom for dim in self.dims for atom in dim]
        dims = []
        for extent in shape:
            dim: list[Atom] = []
            missing = extent
            while missing > 1:
                atom = pending.pop(0)
                if atom.extent > missing:
                    if atom.extent % missing:
                        return None
                    rest = atom.extent // missing
                    pending.insert(0, replace(atom, extent=rest))
                    atom = replace(atom, extent=missing, stride=atom.stride * rest)
                if missing % atom.extent:
                    return None
                missing //= atom.extent
                dim.append(atom)
            dims.append(_joined(dim))
        return replace(self, dims=tuple(dims))

    def slice(self, axis: int, begin: int, extent: int) -> View | None:
        """``extent`` elements from ``begin`` along ``axis``; None where that is no view."""
        dim = self.dims[axis]
        if len(dim) != 1:
            return self if not dim else None
        (atom,) = dim
        offset = list(self.offset)
        if atom.axis is not None:
            offset[atom.axis] += begin * atom.stride
        dims = list(self.dims)
        dims[axis] = _joined([replace(atom, extent=extent)])
        return replace(self, dims=tuple(dims), offset=tuple(offset))

    def broadcast(self, shape: Sequence[int]) -> View:
        """The view repeated to ``shape``, aligned at the end as numpy aligns it."""
        lead = len(shape) - len(self.dims)
        dims = ((),) * lead + self.dims
        repeated = (
            dim if dim or extent == 1 else (Atom(None, extent),)
            for dim, extent in zip(dims, shape, strict=True)
        )
        return replace(self, dims=tuple(repeated))

    def index(self, at: Sequence[PrimExpr]) -> list[Any]:
        """Where in the source the element ``at`` of the view lies."""
        source: list[Any] = list(self.offset)
        for dim, position in zip(self.dims, at, strict=True):
            inner = prod(atom.extent for atom in dim)
            for number, atom in enumerate(dim):
                inner //= atom.extent
                step = position // inner if inner > 1 else position
                if number:
                    step = step % atom.extent
                if atom.axis is not None:
                    source[atom.axis] = source[atom.axis] + step * atom.stride
        return source

    def contiguous(self, axis: int) -> bool:
        """Whether neighbours along ``axis`` are neighbours in memory."""
        dim = self.dims[axis]
        return not dim or (dim[-1].axis == len(self.source) - 1 and dim[-1].stride == 1)


def _joined(atoms: Sequence[Atom]) -> tuple[Atom, ...]:
    """``atoms`` without those of one step, and with neighbours that go on in memory made one."""
    joined: list[Atom] = []
    for atom in atoms:
        if atom.extent == 1:
            continue
        before = joined[-1] if joined else None
        if (
            before is not None
            and before.axis == atom.axis
            and (atom.axis is None or before.stride == atom.extent * atom.stride)
        ):
            joined[-1] = replace(atom, extent=before.extent * atom.extent)
        else:
            joined.append(atom)
    return tuple(joined)
