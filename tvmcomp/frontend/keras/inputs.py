"""What a Keras model takes and gives: names, shapes with open dimensions, types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.limits import INPUT_BYTES


@dataclass(frozen=True)
class Input:
    """One input; None in its shape is an open dimension, and the first one the batch."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def bound(self, shapes: Mapping[str, tuple[int, ...]], *, where: str) -> tuple[int, ...]:
        """The shape to export for: what ``shapes`` has for the input, or a batch of 1.

        Raises:
            ModelError: another dimension is open, or the one that is given contradicts the model.
        """
        given = shapes.get(self.name)
        if given is None:
            if None in self.shape[1:]:
                example = ",".join(str(size or 1) for size in self.shape)
                sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
                raise ModelError(
                    f"input {self.name!r} has an open dimension {self.shape.index(None, 1)} in "
                    f"shape ({sizes})",
                    where=where,
                    hint=f"Bind it: --shape {self.name}={example}",
                )
            return self._held(tuple(size or 1 for size in self.shape), where)
        fits = len(given) == len(self.shape) and all(
            size in (None, wanted) for size, wanted in zip(self.shape, given, strict=True)
        )
        if not fits or any(size < 1 for size in given):
            raise ModelError(
                f"input {self.name!r} is of shape {self.shape}, not {tuple(given)}",
                where=where,
                hint="Give a shape that fits the model.",
            )
        return self._held(tuple(given), where)

    def _held(self, shape: tuple[int, ...], where: str) -> tuple[int, ...]:
        """``shape``, if an example of it may be made."""
        if math.prod(shape) > INPUT_BYTES:
            raise ModelError(
                f"input {self.name!r} of shape {shape} is larger than {INPUT_BYTES >> 20} MiB",
                where=where,
                hint="Export the model for smaller inputs; or the file is damaged.",
            )
        return shape


def inputs_of(model: Any, *, where: str) -> tuple[Any, list[Input]]:
    """The structure that ``model`` is called with, and the inputs in it, in order.

    Raises:
        ModelError: it was never built, so that nobody knows what it takes.
    """
    import keras

    structure = getattr(model, "_inputs_struct", None)
    if structure is None:
        structure = getattr(getattr(model, "_functional", None), "_inputs_struct", None)
    if structure is None:
        known = getattr(model, "inputs", None)
        structure = known[0] if known and len(known) == 1 else known
    if structure is None or (isinstance(structure, list | tuple | dict) and not structure):
        raise ModelError(
            "was never called, so that nobody knows what it takes",
            where=where,
            hint="Give it an Input layer, or make it of the functional API.",
        )
    tensors = keras.tree.flatten(structure)
    return structure, [
        Input(_name(tensor, index), tuple(tensor.shape), str(tensor.dtype))
        for index, tensor in enumerate(tensors)
    ]


def output_names(model: Any) -> list[str]:
    """Names of the outputs, which are those of the layers that they come from."""
    names = list(getattr(model, "output_names", None) or [])
    return names if len(set(names)) == len(names) else []


def _name(tensor: Any, index: int) -> str:
    name = str(getattr(tensor, "name", "") or f"input_{index}")
    return name.partition(":")[0]
