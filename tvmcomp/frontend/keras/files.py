"""A .keras or .h5 file to ONNX, in the process that :mod:`tvmcomp.frontend.isolated` starts."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmcomp.errors import ModelError
from tvmcomp.frontend import zip_checks
from tvmcomp.frontend.keras import hdf5
from tvmcomp.frontend.keras.config import checked

if TYPE_CHECKING:
    import onnx

_LARGEST_CONFIG = 64 << 20
_HINT = "Save it again with this version of Keras, or install the one that it was saved by."


def convert(
    path: Path,
    folder: Path,
    *,
    backend: str,
    shapes: Mapping[str, list[int]] | None = None,
    where: str = "",
) -> onnx.ModelProto:
    """Turn the Keras model in ``path`` into ONNX.

    Args:
        path: a .keras or .h5 file.
        folder: where to write what Keras reads.
        backend: what Keras computes with, ``torch`` or ``tensorflow``.
        shapes: full shapes of inputs, by name.
        where: names the file in errors.

    Raises:
        ModelError: as :func:`tvmcomp.frontend.keras.convert` says.
    """
    where = where or str(path)
    os.environ["KERAS_BACKEND"] = backend
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    data = folder / ("model.keras" if is_zip else "model.h5")
    (only_data if is_zip else only_data_hdf5)(path, data, where)

    import keras

    try:
        model = keras.saving.load_model(data, compile=False, safe_mode=True)
    # It is Keras's own judgement of the file: whatever it raises speaks of the file.
    except Exception as error:
        raise ModelError(
            f"can't be loaded by Keras {keras.__version__}: {_first_line(error)}",
            where=where,
            hint=_HINT,
        ) from error
    return model_to_onnx(model, {k: tuple(v) for k, v in (shapes or {}).items()}, where=where)


def model_to_onnx(
    model: Any, shapes: Mapping[str, tuple[int, ...]], *, where: str
) -> onnx.ModelProto:
    """Turn a Keras model in memory into ONNX, by the backend that it computes with.

    Raises:
        ModelError: it can't be converted.
    """
    import keras

    if keras.backend.backend() == "torch":
        from tvmcomp.frontend.keras.through_torch import to_onnx
    elif keras.backend.backend() == "tensorflow":
        from tvmcomp.frontend.keras.through_tensorflow import to_onnx
    else:
        raise ModelError(
            f"computes with {keras.backend.backend()}, which is not exported from",
            where=where,
            hint="Save it with model.save('model.keras'), and give the file.",
        )
    return to_onnx(model, shapes, where=where)


def only_data(path: Path, destination: Path, where: str) -> None:
    """Write the .keras archive anew: its checked configuration and its weights."""
    found = {member.filename: member for member in zip_checks.members(path, where=where)}
    for name in ("config.json", "model.weights.h5"):
        if name not in found:
            raise ModelError(f"lacks {name!r}", where=where, hint=_HINT)
    if found["config.json"].file_size > _LARGEST_CONFIG:
        raise ModelError("its configuration is too large", where=where, hint=_HINT)
    weights = destination.with_name("weights.h5")
    with zipfile.ZipFile(path) as archive:
        config = checked(
            _json(zip_checks.read(archive, found["config.json"], where=where), where), where=where
        )
        try:
            with archive.open(found["model.weights.h5"]) as source, weights.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        # zipfile and what it unpacks with raise of every kind.
        except Exception as error:
            raise ModelError(f"its weights are damaged: {error}", where=where) from error
        metadata = {}
        if "metadata.json" in found and found["metadata.json"].file_size < _LARGEST_CONFIG:
            told = _json(zip_checks.read(archive, found["metadata.json"], where=where), where)
            version = told.get("keras_version") if isinstance(told, dict) else None
            metadata = {"keras_version": str(version), "date_saved": ""}
    hdf5.check(weights, where=where)
    with zipfile.ZipFile(destination, "w") as made:
        made.writestr("metadata.json", json.dumps(metadata))
        made.writestr("config.json", json.dumps(config))
        made.write(weights, "model.weights.h5")
    weights.unlink()


def only_data_hdf5(path: Path, destination: Path, where: str) -> None:
    """Copy a .h5 file, with its checked configuration in place of its own."""
    import h5py

    hdf5.check(path, where=where)
    shutil.copyfile(path, destination)
    destination.chmod(0o600)
    with h5py.File(destination, "r+") as file:
        text = file.attrs.get("model_config")
        version = file.attrs.get("keras_version", "")
        if not isinstance(text, str | bytes):
            raise ModelError(
                "holds weights and no model",
                where=where,
                hint="Save the whole model: model.save('model.keras').",
            )
        version = version.decode("utf-8", "replace") if isinstance(version, bytes) else str(version)
        config = checked(_json(text, where), where=where, keras2=not version.startswith("3"))
        file.attrs["model_config"] = json.dumps(config)
        for name in ("training_config",):
            if name in file.attrs:
                del file.attrs[name]


def _json(text: str | bytes, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"its configuration is no JSON: {error}", where=where, hint=_HINT
        ) from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:300] if text else ''}"
