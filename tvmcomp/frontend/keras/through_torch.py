"""A Keras model on the torch backend to ONNX, by torch's exporter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx

from tvmcomp.errors import ModelError
from tvmcomp.frontend.keras.inputs import Input, inputs_of, output_names
from tvmcomp.frontend.keras.recurrent import as_nodes
from tvmcomp.frontend.torch.export import torch_to_onnx
from tvmcomp.frontend.torch.names import rename_tensors

if TYPE_CHECKING:
    import torch


def to_onnx(model: Any, shapes: Mapping[str, tuple[int, ...]], *, where: str) -> onnx.ModelProto:
    """Turn ``model`` into ONNX with its inputs' and outputs' names.

    Args:
        model: a ``keras.Model`` that is built, on the torch backend.
        shapes: full shapes of inputs, by name. Those that are not given keep their batch open.
        where: names the model in errors.

    Raises:
        ModelError: a shape contradicts the model or is missing, or it can't be exported.
    """
    structure, inputs = inputs_of(model, where=where)
    bound = [each.bound(shapes, where=where) for each in inputs]
    module, names = _flat(model, structure)
    with as_nodes():
        made = _with_open_batch(module, names, inputs, bound, shapes)
        if made is None:
            examples = [_example(each, shape) for each, shape in zip(inputs, bound, strict=True)]
            made = torch_to_onnx(module, examples, layers=names)
    wanted = [each.name for each in inputs], output_names(model)
    for values, new in zip((made.graph.input, made.graph.output), wanted, strict=True):
        if len(values) == len(new):
            rename_tensors(made.graph, {v.name: n for v, n in zip(values, new, strict=True)})
    return made


def _with_open_batch(
    module: Any,
    names: Mapping[str, str],
    inputs: Sequence[Input],
    bound: Sequence[tuple[int, ...]],
    shapes: Mapping[str, tuple[int, ...]],
) -> onnx.ModelProto | None:
    """The model with its batch open; None where it is not, or decides what is computed."""
    dims = [
        {0: "batch"} if each.name not in shapes and each.shape[:1] == (None,) else None
        for each in inputs
    ]
    if not any(dims):
        return None
    examples = [
        _example(each, (2, *shape[1:]) if dim else shape)
        for each, shape, dim in zip(inputs, bound, dims, strict=True)
    ]
    try:
        return torch_to_onnx(module, examples, (tuple(dims),), layers=names)
    except ModelError:
        return None


def _flat(model: Any, structure: Any) -> tuple[torch.nn.Module, dict[str, str]]:
    """A module that takes the inputs one by one; and its parts' layers, by the parts' names."""
    import keras
    import torch

    class Flat(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            # Keras's layers are no parts of a module by themselves; torch notes what are.
            for number, layer in enumerate(layers):
                self.add_module(f"layer{number}", layer)
            self.model = model

        def forward(self, *flat: torch.Tensor) -> Any:
            packed = keras.tree.pack_sequence_as(structure, list(flat))
            return tuple(keras.tree.flatten(self.model(packed, training=False)))

    layers = [layer for layer in model._flatten_layers() if layer is not model]
    names = {f"layer{number}": layer.name for number, layer in enumerate(layers)}
    return Flat(), {**names, "model": ""}


def _example(each: Input, shape: tuple[int, ...]) -> torch.Tensor:
    import torch

    return torch.zeros(shape, dtype=getattr(torch, each.dtype))
