"""Where a smaller network goes: a place that can be written to, and that is not the original."""

from __future__ import annotations

import os
from pathlib import Path

import onnx

from tvmcomp import arguments
from tvmcomp.errors import ConfigError, ModelError
from tvmcomp.frontend import ModelSource
from tvmcomp.frontend.written import write_onnx


def output_path(value: str | os.PathLike[str], model: ModelSource) -> Path:
    """``value`` as the place of what is made of ``model``; known before minutes of work.

    Raises:
        ConfigError, ModelError: it is the original, or can't be written.
    """
    path = arguments.path(value, "output")
    if not path.parent.is_dir():
        raise _cannot_write(path, f"there is no folder {path.parent}")
    if path.exists() and not path.is_file():
        raise _cannot_write(path, "it is a folder, a device or a pipe")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise _cannot_write(path, "no permission")
    if isinstance(model, str | bytes | os.PathLike) and path.exists():
        source = arguments.path(model, "the model's path")
        if source.exists() and source.samefile(path):
            raise ConfigError(
                "is the model itself, which is left as it is",
                where=str(path),
                hint="Give another -o.",
            )
    return path


def write_output(model: onnx.ModelProto, path: Path) -> None:
    """Write ``model`` to ``path``, as a whole or not at all.

    Raises:
        ModelError: it can't be written.
    """
    try:
        write_onnx(model, path)
    except OSError as error:
        raise _cannot_write(path, error.strerror or str(error)) from error


def _cannot_write(path: Path, reason: str) -> ModelError:
    return ModelError(
        f"can't be written: {reason}", where=str(path), hint="Give another output with -o."
    )
