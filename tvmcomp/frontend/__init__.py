"""Frontends: a trained network's file becomes a float Relax :class:`~tvmcomp.model.Model`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from tvmcomp import arguments
from tvmcomp.errors import ConfigError
from tvmcomp.model import Model

if TYPE_CHECKING:
    import onnx

__all__ = ["ModelSource", "load_model"]

#: A model file, a SavedModel folder, or an ONNX model in memory.
ModelSource: TypeAlias = "str | bytes | os.PathLike[str] | onnx.ModelProto"


def load_model(
    source: ModelSource,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    *,
    for_quantization: bool = False,
) -> Model:
    """Import the network in ``source`` into Relax.

    Args:
        source: the model file or SavedModel folder, of any format that
            :mod:`tvmcomp.frontend.formats` tells; or an ``onnx.ModelProto``, which stays as it is.
        shapes: full shapes of inputs, by name; needed for each input with a dynamic dimension.
        for_quantization: import float64 as float32, which is what can be quantized; the inputs
            and outputs keep their types. float16 and bfloat16 are computed in float32 anyhow.

    Raises:
        ConfigError: ``source`` is none of them, or ``shapes`` holds no shapes.
        ModelError: the file can't be read, a shape is missing or contradicts the model, or the
            model holds operators that can't be compiled.
    """
    bound = arguments.shapes(shapes)
    if not isinstance(source, str | bytes | os.PathLike):
        if type(source).__name__ != "ModelProto":
            raise ConfigError(
                f"the model is a {type(source).__name__}",
                hint="Give the path of a model file, or an onnx.ModelProto.",
            )
        from tvmcomp.frontend.onnx.load import load_proto

        return load_proto(source, bound, for_quantization=for_quantization)
    path = arguments.path(source, "the model's path")
    # Imported late: TVM and onnx take a second that `--help` need not pay.
    from tvmcomp.frontend.onnx.load import load_checked
    from tvmcomp.frontend.source import read_model

    model, digest = read_model(path)
    return load_checked(model, path, digest, bound, for_quantization=for_quantization)
