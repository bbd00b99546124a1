"""TensorFlow Lite: a file becomes ONNX, without TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

__all__ = ["convert"]


def convert(path: Path) -> onnx.ModelProto:
    """Convert the TensorFlow Lite file in ``path``.

    Raises:
        ModelError: it is damaged, or holds an operator that can't be converted.
    """
    from tvmcomp.frontend.tflite.converter import convert as convert_file

    return convert_file(path)
