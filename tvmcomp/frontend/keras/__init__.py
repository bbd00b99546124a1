"""Keras models and SavedModels become ONNX. keras and TensorFlow are imported here only."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmcomp.errors import ModelError

if TYPE_CHECKING:
    import onnx


def convert(
    path: Path,
    signature: str | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> onnx.ModelProto:
    """Turn a .keras or .h5 file, or a SavedModel folder, into ONNX.

    It runs in a process of its own. Keras models go through Keras 3 on torch, which keeps LSTM and
    GRU layers as nodes; where torch is missing, and for SavedModels, through TensorFlow.
    Custom layers can't be loaded from a file, as their code would have to be: give the model that
    your program loaded to ``tvmcomp.build``.

    Args:
        path: the file or folder.
        signature: which signature of a SavedModel that has several.
        shapes: full shapes of inputs, by name; a Keras model is exported for them.

    Raises:
        ModelError: it is damaged, holds what would run code (Lambda layers, custom objects,
            operators of files), has several signatures, or can't be converted.
    """
    from tvmcomp.frontend import isolated

    if path.is_dir():
        options: dict[str, Any] = {"signature": signature}
        return isolated.convert("tvmcomp.frontend.keras.saved_model", path, options)
    backend = "torch" if importlib.util.find_spec("torch") else "tensorflow"
    if backend == "tensorflow" and not importlib.util.find_spec("tf2onnx"):
        raise ModelError(
            "is a Keras model; torch, which it is exported with, is not installed",
            where=str(path),
            hint="Install it: pip install 'tvmcomp[keras]'",
        )
    options = {"backend": backend, "shapes": {k: list(v) for k, v in (shapes or {}).items()}}
    return isolated.convert("tvmcomp.frontend.keras.files", path, options)
