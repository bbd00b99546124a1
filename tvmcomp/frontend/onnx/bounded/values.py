"""What is known of a tensor whose size may depend on data: a bound, and a count of what is real.

A tensor of ``n`` rows, where ``n`` is only known when the network runs and is at most ``N``, is
held as ``N`` rows, of which the first ``n`` are real and the others anything finite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Count:
    """A whole number of run time, 0 to ``most``: two are equal where their ``name`` is.

    Attributes:
        name: an int64 tensor that holds it.
        place: where, in that tensor made flat.
        most: what it never exceeds.
    """

    name: str
    place: int
    most: int


#: An element of a tensor of shapes: known, counted, or (None) neither.
Element: TypeAlias = "int | Count | None"


@dataclass(frozen=True)
class Length:
    """The axis of a tensor of which the first ``count`` places are real."""

    axis: int
    count: Count


@dataclass(frozen=True)
class Value:
    """A tensor of the graph that is written.

    Attributes:
        name: in that graph; empty where it is an input that is left out.
        dtype: its ONNX element type.
        shape: with the bound where a size depends on data; None where inference finds none.
        length: the axis whose size depends on data, if one does.
        elements: of integer tensors of shapes, as far as they are followed.
    """

    name: str
    dtype: int = 0
    shape: tuple[int, ...] | None = None
    length: Length | None = None
    elements: tuple[Element, ...] | None = None

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape.

        Raises:
            ValueError: it is not known.
        """
        if self.shape is None:
            raise ValueError(f"the shape of {self.name!r} is not known")
        return self.shape

    @property
    def known(self) -> tuple[int, ...] | None:
        """The elements, where all are known when the network is built."""
        if self.elements is None:
            return None
        known = tuple(element for element in self.elements if isinstance(element, int))
        return known if len(known) == len(self.elements) else None
