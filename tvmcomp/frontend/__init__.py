"""Frontends: a trained network's file becomes a float Relax :class:`~tvmcomp.model.Model`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tvmcomp.errors import ModelError
from tvmcomp.model import Model

__all__ = ["load_model"]


def load_model(
    path: str | os.PathLike[str],
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    *,
    for_quantization: bool = False,
) -> Model:
    """Import the network in ``path`` into Relax.

    Args:
        path: the model file; its suffix says the format (``.onnx``).
        shapes: full shapes of inputs, by name; needed for each input with a dynamic dimension.
        for_quantization: import float64 as float32, which is what can be quantized; the inputs
            and outputs keep their types. float16 and bfloat16 are computed in float32 anyhow.

    Raises:
        ModelError: the file can't be read, a shape is missing or contradicts the model, or the
            model holds operators that can't be compiled.
    """
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise ModelError(
            f"the format of a {path.suffix or 'suffix-less'} file is not known",
            where=str(path),
            hint="Give an ONNX model (.onnx); most frameworks can export one.",
        )
    # Imported late: TVM and onnx take a second that `--help` need not pay.
    from tvmcomp.frontend.onnx.load import load_onnx

    return load_onnx(path, shapes or {}, for_quantization=for_quantization)
