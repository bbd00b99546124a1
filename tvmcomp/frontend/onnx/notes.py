"""What a converter notes in an ONNX model's metadata, beyond what ONNX says.

``tvmcomp.state.<input> = <output>``: the network is a stream's. The output is what the input is
given at the next run; the initializer of the input's name, its default, is what the first run is
given (without one: zeros).

``tvmcomp.default_shape.<input> = 1,224,224,3``: the shape of an input with free dimensions, where
nobody asks for another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx.numpy_helper

from tvmcomp.dtypes import numpy_dtype
from tvmcomp.errors import ModelError
from tvmcomp.model import Signature, State

STATE = "tvmcomp.state."
DEFAULT_SHAPE = "tvmcomp.default_shape."
_HINT = "It was converted by another version of tvmcomp, or changed since; convert it again."


@dataclass(frozen=True)
class StateNote:
    """An input that keeps its value: the output that it comes from, and its start, if not 0."""

    input: str
    output: str
    start: np.ndarray | None


def take_states(model: onnx.ModelProto, *, where: str) -> list[StateNote]:
    """The state inputs of ``model``, whose defaults are taken out of it.

    Raises:
        ModelError: a note names an input or an output that there is not.
    """
    graph = model.graph
    pairs = _notes(model, STATE)
    inputs = {value.name for value in graph.input}
    outputs = {value.name for value in graph.output}
    if not set(pairs) <= inputs or not set(pairs.values()) <= outputs:
        raise ModelError(
            "notes a state that is no input, or comes from no output", where=where, hint=_HINT
        )
    starts = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.name in pairs
    }
    kept = [tensor for tensor in graph.initializer if tensor.name not in pairs]
    if starts:
        del graph.initializer[:]
        graph.initializer.extend(kept)
    return [StateNote(name, output, starts.get(name)) for name, output in pairs.items()]


def states_of(notes: list[StateNote], signature: Signature, *, where: str) -> tuple[State, ...]:
    """The states of an imported network.

    Raises:
        ModelError: what a state starts with, or comes from, is not of its type.
    """
    inputs = {spec.name: spec for spec in signature.inputs}
    outputs = {spec.name: spec for spec in signature.outputs}
    states = []
    for note in notes:
        spec, source = inputs[note.input], outputs[note.output]
        start = np.zeros(spec.shape, numpy_dtype(spec.dtype)) if note.start is None else note.start
        found = (source.shape, source.dtype, start.shape, start.dtype.name)
        if found != (spec.shape, spec.dtype, spec.shape, spec.dtype):
            raise ModelError(
                f"state {note.input!r} is {spec.dtype}{list(spec.shape)}; it starts as "
                f"{start.dtype.name}{list(start.shape)}, and becomes "
                f"{source.dtype}{list(source.shape)}",
                where=where,
                hint=_HINT,
            )
        states.append(State(note.input, note.output, start.tobytes()))
    return tuple(states)


def with_default_shapes(
    model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]], dims: Mapping[str, int]
) -> dict[str, tuple[int, ...]]:
    """``shapes``, and those that the model notes of other inputs, but for what ``dims`` name."""
    inputs = {value.name: value.type.tensor_type.shape.dim for value in model.graph.input}
    noted = {}
    for name, text in _notes(model, DEFAULT_SHAPE).items():
        sizes = text.split(",")
        if name in inputs and all(size.isascii() and size.isdigit() for size in sizes):
            names = [dim.dim_param for dim in inputs[name]]
            names += [""] * (len(sizes) - len(names))
            noted[name] = tuple(
                dims.get(dim, int(size)) for dim, size in zip(names, sizes, strict=False)
            )
    return {**noted, **shapes}


def _notes(model: onnx.ModelProto, prefix: str) -> dict[str, str]:
    return {
        entry.key[len(prefix) :]: entry.value
        for entry in model.metadata_props
        if entry.key.startswith(prefix)
    }
