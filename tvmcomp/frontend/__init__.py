"""Frontends: a trained network's file becomes a float Relax :class:`~tvmcomp.model.Model`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from tvmcomp import arguments
from tvmcomp.errors import ConfigError, ModelError
from tvmcomp.model import Model

if TYPE_CHECKING:
    import onnx

__all__ = ["ModelSource", "load_model"]

#: A model file, or an ONNX model in memory.
ModelSource: TypeAlias = "str | bytes | os.PathLike[str] | onnx.ModelProto"


def load_model(
    source: ModelSource,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    *,
    for_quantization: bool = False,
) -> Model:
    """Import the network in ``source`` into Relax.

    Args:
        source: the model file, whose suffix says the format (``.onnx``); or an
            ``onnx.ModelProto``, which stays as it is.
        shapes: full shapes of inputs, by name; needed for each input with a dynamic dimension.
        for_quantization: import float64 as float32, which is what can be quantized; the inputs
            and outputs keep their types. float16 and bfloat16 are computed in float32 anyhow.

    Raises:
        ConfigError: ``source`` is neither, or ``shapes`` holds no shapes.
        ModelError: the file can't be read, a shape is missing or contradicts the model, or the
            model holds operators that can't be compiled.
    """
    bound = arguments.shapes(shapes)
    if not isinstance(source, str | bytes | os.PathLike):
        if type(source).__name__ != "ModelProto":
            raise ConfigError(
                f"the model is a {type(source).__name__}",
                hint="Give the path of an .onnx file, or an onnx.ModelProto.",
            )
        from tvmcomp.frontend.onnx.load import load_proto

        return load_proto(source, bound, for_quantization=for_quantization)
    path = arguments.path(source, "the model's path")
    if path.suffix.lower() != ".onnx":
        raise ModelError(
            f"the format of a {path.suffix or 'suffix-less'} file is not known",
            where=str(path),
            hint="Give an ONNX model (.onnx); most frameworks can export one.",
        )
    # Imported late: TVM and onnx take a second that `--help` need not pay.
    from tvmcomp.frontend.onnx.load import load_onnx

    return load_onnx(path, bound, for_quantization=for_quantization)
