"""TensorFlow functions and graphs to ONNX, by tf2onnx."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx

from tvmcomp.errors import ModelError
from tvmcomp.frontend.keras.inputs import inputs_of, output_names
from tvmcomp.frontend.torch.names import rename_tensors

#: The newest operator set that tf2onnx writes.
OPSET = 18


def to_onnx(model: Any, shapes: Mapping[str, tuple[int, ...]], *, where: str) -> onnx.ModelProto:
    """Turn a Keras model on the TensorFlow backend into ONNX.

    Args:
        model: a ``keras.Model`` that is built.
        shapes: full shapes of inputs, by name; other open dimensions stay open.
        where: names the model in errors.

    Raises:
        ModelError: it can't be converted.
    """
    import keras
    import tensorflow as tf
    import tf2onnx

    structure, inputs = inputs_of(model, where=where)
    given = [
        each.bound(shapes, where=where) if each.name in shapes else each.shape for each in inputs
    ]

    @tf.function  # type: ignore[untyped-decorator]
    def call(*flat: Any) -> Any:
        packed = keras.tree.pack_sequence_as(structure, list(flat))
        return tuple(keras.tree.flatten(model(packed, training=False)))

    signature = [
        tf.TensorSpec(shape, each.dtype, name=each.name)
        for each, shape in zip(inputs, given, strict=True)
    ]
    try:
        made, _ = tf2onnx.convert.from_function(call, input_signature=signature, opset=OPSET)
    # tf2onnx raises of every kind, for what the model holds.
    except Exception as error:
        raise _failed(error, where) from error
    wanted = [each.name for each in inputs], output_names(model)
    for values, new in zip((made.graph.input, made.graph.output), wanted, strict=True):
        if len(values) == len(new):
            rename_tensors(made.graph, {v.name: n for v, n in zip(values, new, strict=True)})
    return made


def signature_to_onnx(path: str, tags: list[str], signature: str, *, where: str) -> onnx.ModelProto:
    """Turn a signature of the SavedModel in ``path``, which was checked, into ONNX.

    Raises:
        ModelError: it can't be loaded or converted.
    """
    import tensorflow as tf
    from tf2onnx import convert, tf_loader

    try:
        graph, inputs, outputs, tables, names = tf_loader.from_saved_model(
            path,
            None,
            None,
            tag=tags,
            signatures=[signature],
            return_initialized_tables=True,
            return_tensors_to_rename=True,
        )
        with tf.device("/cpu:0"):
            made, _ = convert._convert_common(
                graph,
                name=signature,
                opset=OPSET,
                input_names=inputs,
                output_names=outputs,
                tensors_to_rename=names,
                initialized_tables=tables,
            )
    # They raise of every kind, for what the folder holds.
    except Exception as error:
        raise _failed(error, where) from error
    return made


def _failed(error: Exception, where: str) -> ModelError:
    lines = str(error).strip().splitlines()
    return ModelError(
        f"can't be turned into ONNX by tf2onnx: {type(error).__name__}: "
        f"{lines[0][:300] if lines else ''}",
        where=where,
        hint="Export the model without these operators, or compute this part outside it.",
    )
