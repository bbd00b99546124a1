"""``convert``: a network of any format as an ONNX model, in memory or in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmcomp import arguments
from tvmcomp.errors import ModelError
from tvmcomp.frontend import ModelSource, in_memory
from tvmcomp.frontend.formats import ONNX, format_of
from tvmcomp.frontend.source import to_onnx
from tvmcomp.frontend.written import write_onnx

if TYPE_CHECKING:
    import onnx


def convert(
    model: ModelSource,
    output: str | bytes | os.PathLike[str] | None = None,
    *,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    signature: str | None = None,
) -> onnx.ModelProto:
    """Turn a network into the ONNX model that ``build`` makes of it.

    Args:
        model: a file of any format but ONNX, a SavedModel folder, or a network in memory.
        output: where to write the ONNX model; None writes nothing. What is larger than 2 GiB, which
            no ONNX file can be, keeps its weights in a file beside it, called ``<output>.data``.
        example_inputs, dynamic_shapes: of a PyTorch module; as of :func:`tvmcomp.build`.
        shapes: full shapes of a Keras model's inputs, by name; other formats keep theirs.
        signature: which of a SavedModel's signatures, where it has several.

    Raises:
        ConfigError: a path is none.
        ModelError: ``model`` can't be converted, is ONNX already, or ``output`` can't be written.
    """
    target = None if output is None else arguments.path(output, "output")
    if target is not None and not target.parent.is_dir():
        raise ModelError(
            f"can't be written: there is no folder {target.parent}",
            where=str(target),
            hint="Make the folder, or give another output.",
        )
    bound = arguments.shapes(shapes)
    if isinstance(model, str | bytes | os.PathLike):
        made = _converted(arguments.path(model, "the model's path"), signature, bound)
    else:
        made = in_memory.to_onnx(model, example_inputs, dynamic_shapes, bound)
    if target is not None:
        try:
            write_onnx(made, target)
        except OSError as error:
            reason = error.strerror or error
            raise ModelError(f"can't be written: {reason}", where=str(target)) from error
    return made


def _converted(
    path: Path, signature: str | None, shapes: Mapping[str, tuple[int, ...]]
) -> onnx.ModelProto:
    format_ = format_of(path)
    if format_ is ONNX:
        raise ModelError("is an ONNX model already", where=str(path), hint="Use it as it is.")
    return to_onnx(path, format_, signature=signature, shapes=shapes)
