"""Weights as matrices: a row for each output, a column for each input that it multiplies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

#: The weight's role: what multiplies by it, or an embedding's table, or a layer's state by it.
CONVOLUTION, TRANSPOSED, PRODUCT, RECURRENT, STATE, TABLE = (
    "convolution", "transposed convolution", "product", "recurrent", "state", "table"
)  # fmt: skip
#: Roles that add up over several inputs: of a table each row is by itself.
GPTQ_ROLES = frozenset([CONVOLUTION, TRANSPOSED, PRODUCT, RECURRENT, STATE])


@dataclass(frozen=True)
class Weight:
    """A constant that is stored in few bits.

    Attributes:
        tensor: its initializer.
        node: the name of the operator that multiplies by it, or looks it up.
        kind: of that operator.
        place: which of the operator's inputs it is.
        role: how it is multiplied.
        shape: as the initializer has it.
        axis: of the outputs, each of which has a scale.
        groups: outputs of each read inputs of their own: of a convolution, or the directions whose
            states a recurrent layer multiplies.
    """

    tensor: str
    node: str
    kind: str
    place: int
    role: str
    shape: tuple[int, ...]
    axis: int
    groups: int = 1

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape that one axis holds a scale each of: directions and rows of a recurrent layer
        are one axis."""
        if self.role in (RECURRENT, STATE):
            return (math.prod(self.shape[:2]), self.shape[2])
        return self.shape

    @property
    def scales(self) -> int:
        """How many scales it has."""
        return self.stored_shape[self.axis]

    def matrices(self, weight: np.ndarray) -> np.ndarray:
        """``weight`` as ``[G, O, K]``: groups, outputs of each, inputs of each."""
        if self.role == TRANSPOSED:  # [I, O/G, *kernel]
            split = weight.reshape(self.groups, -1, *weight.shape[1:])
            return np.moveaxis(split, 2, 1).reshape(self.groups, self.shape[1], -1)
        stored = np.moveaxis(weight.reshape(self.stored_shape), self.axis, 0)
        return stored.reshape(self.groups, self.scales // self.groups, -1)

    def from_matrices(self, matrices: np.ndarray) -> np.ndarray:
        """What :meth:`matrices` gives, in the initializer's shape again."""
        if self.role == TRANSPOSED:
            inputs, outputs, *kernel = self.shape
            split = matrices.reshape(self.groups, outputs, inputs // self.groups, *kernel)
            return np.moveaxis(split, 1, 2).reshape(self.shape)
        shape = self.stored_shape
        moved = (shape[self.axis], *(s for i, s in enumerate(shape) if i != self.axis))
        return np.moveaxis(matrices.reshape(moved), 0, self.axis).reshape(self.shape)

    def scale_matrix(self, scale: np.ndarray) -> np.ndarray:
        """The scales as ``[G, O]``, to go with :meth:`matrices`."""
        if self.role == TRANSPOSED:
            return np.broadcast_to(scale, (self.groups, self.scales))
        return scale.reshape(self.groups, -1)

    def shared_scale(self, scale: np.ndarray) -> np.ndarray:
        """One scale for each index of the axis, out of ``[G, O]``."""
        if self.role == TRANSPOSED:  # Groups have them in common: the standard has one axis.
            return scale.max(axis=0)
        return scale.reshape(-1)
