"""The ONNX model that a run writes: finished, and with what the original says of itself.

It keeps the original's inputs and outputs, by name and order, its metadata, what its states start
with, and its open batch where :mod:`tvmcomp.compress.open_batch` can keep it. Other dimensions
that were open are what they were bound to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from tvmcomp.compress.open_batch import batch_inputs, is_open, with_open_batch
from tvmcomp.compress.original import Original

#: What was done is told under this key of the metadata.
RECIPE_KEY = "tvmcomp.compress"


def written_model(
    finished: onnx.ModelProto,
    original: Original,
    recipe: str,
    samples: Sequence[Mapping[str, NDArray]],
) -> tuple[onnx.ModelProto, list[str]]:
    """``finished`` as it is written, and what a person should know of it.

    Args:
        finished: of operators that other tools know.
        original: what it was made of.
        recipe: what was done, for the metadata.
        samples: two or more, to see with whether the batch can be open.
    """
    model = onnx.ModelProto()
    model.CopyFrom(finished)
    graph, source = model.graph, original.model
    graph.name, graph.doc_string = source.graph.name, source.graph.doc_string
    model.doc_string, model.domain = source.doc_string, source.domain
    model.model_version = source.model_version
    model.producer_name = "tvmcomp"
    del model.metadata_props[:]
    model.metadata_props.extend(p for p in source.metadata_props if p.key != RECIPE_KEY)
    model.metadata_props.add(key=RECIPE_KEY, value=recipe)
    # What the standard's own rules infer again takes room for nothing.
    inferred = {name for node in graph.node if not node.domain for name in node.output}
    kept = [value for value in graph.value_info if value.name not in inferred]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    # A state is one stream's: it has no batch.
    opened = None if original.states else with_open_batch(model, source.graph, samples)
    model = opened or model
    for note in original.states:
        if note.start is not None:
            model.graph.initializer.append(numpy_helper.from_array(note.start, note.input))
    return model, list(_closed(original, opened is not None))


def _closed(original: Original, batch_is_open: bool) -> Iterator[str]:
    """What was open in the original, and is not in what is written."""
    bound = {spec.name: spec.shape for spec in original.signature.inputs}
    batched = batch_inputs(original.model.graph) if batch_is_open else []
    for value in original.model.graph.input:
        if value.name not in bound:
            yield f"input {value.name!r} is a constant in it"
            continue
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not is_open(dim) or (axis == 0 and value.name in batched):
                continue
            # Some exporters call every open dimension "?".
            name = dim.dim_param if dim.dim_param.isidentifier() else axis
            what = f"dimension {name} of input {value.name!r}"
            yield f"{what}, which was open, is {bound[value.name][axis]} in it"
