"""The formats that a trained network comes in, told by what a file holds and not by its name.

A name may lie or say nothing, so it only words the error of a file that holds none of them.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from tvmcomp.errors import ModelError


@dataclass(frozen=True)
class Format:
    """One format, and what turns it into ONNX.

    Attributes:
        title: what a person calls a file of it.
        suffixes: endings that such files usually have.
        module: its function ``convert(path: Path) -> onnx.ModelProto`` reads such a file; None
            for ONNX itself. It raises ModelError, and runs nothing that the file holds.
        extra: the extra of tvmcomp that installs what ``module`` imports.
        packages: what ``module`` can't do without, by the names that are imported.
        options: what ``convert`` takes beside the path, by name: ``signature``, a text, or
            ``shapes``, full shapes of inputs by name.
    """

    title: str
    suffixes: tuple[str, ...]
    module: str | None = None
    extra: str = ""
    packages: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


ONNX = Format("an ONNX model", (".onnx",))
TFLITE = Format(
    title="a TensorFlow Lite model",
    suffixes=(".tflite", ".lite"),
    module="tvmcomp.frontend.tflite",
    extra="tflite",
    packages=("tflite",),
)
PT2 = Format(
    title="an exported PyTorch program",
    suffixes=(".pt2",),
    module="tvmcomp.frontend.torch",
    extra="torch",
    packages=("torch",),
)
KERAS = Format(
    title="a Keras model",
    suffixes=(".keras",),
    module="tvmcomp.frontend.keras",
    extra="keras",
    packages=("keras", "h5py"),
    options=("shapes",),
)
HDF5 = replace(KERAS, title="a Keras model in HDF5", suffixes=(".h5", ".hdf5"))
SAVED_MODEL = Format(
    title="a SavedModel",
    suffixes=(),
    module="tvmcomp.frontend.keras",
    extra="tensorflow",
    packages=("tensorflow", "tf2onnx"),
    options=("signature",),
)

FORMATS = (ONNX, TFLITE, PT2, KERAS, HDF5, SAVED_MODEL)

#: What a TorchScript file, or a pickled one, is refused with: to load it runs code that it holds.
_EXPORT_TORCH = (
    "Make the module in Python, load its weights with torch.load(path, weights_only=True), and "
    'export it: torch.export.save(torch.export.export(module, args), "model.pt2"); or give the '
    "module to tvmcomp.build."
)
_KNOWN = (
    "Give an ONNX model (.onnx), TensorFlow Lite (.tflite), Keras (.keras, .h5), a SavedModel "
    "folder, or an exported PyTorch program (.pt2)."
)
_AGAIN = "Download or export the file again."
#: Bytes of a file's start that tell most formats.
_HEAD = 16
#: The first bytes of ONNX files: the key of a field of ModelProto. Its field 1, `ir_version`,
#: comes first in files of most writers.
_ONNX_KEYS = (0x08, 0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)


def format_of(path: Path) -> Format:
    """Tell the format of the file, or of the folder, in ``path``.

    Raises:
        ModelError: it is not there, of no known format, or of one that is refused because to load
            it runs code.
    """
    where = str(path)
    try:
        if path.is_dir():
            return _format_of_folder(path)
        if path.exists() and not path.is_file():
            raise ModelError("is neither a file nor a folder", where=where)
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"can't be read: {reason}", where=where) from error
    if head[4:8] == b"TFL3":
        return TFLITE
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return HDF5
    if head.startswith(b"PK\x03\x04"):
        return _format_of_zip(path)
    _refuse(path, head)
    by_name = _by_suffix(path)
    if by_name is ONNX or (by_name is None and head[:1] and head[0] in _ONNX_KEYS):
        return ONNX
    if by_name is not None:
        raise ModelError(f"is not {by_name.title}, or is truncated", where=where, hint=_AGAIN)
    raise ModelError(
        f"the format of a {path.suffix or 'suffix-less'} file is not known",
        where=where,
        hint=_KNOWN,
    )


def _by_suffix(path: Path) -> Format | None:
    suffix = path.suffix.lower()
    return next((each for each in FORMATS if suffix in each.suffixes), None)


def _format_of_folder(path: Path) -> Format:
    if (path / "saved_model.pb").is_file() or (path / "saved_model.pbtxt").is_file():
        return SAVED_MODEL
    raise ModelError(
        "is a folder, and no SavedModel: it holds no saved_model.pb", where=str(path), hint=_KNOWN
    )


def _format_of_zip(path: Path) -> Format:
    where = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    # It is zipfile's own judgement of the file: whatever it raises speaks of the file.
    except Exception as error:
        raise ModelError("is a damaged or incomplete archive", where=where, hint=_AGAIN) from error
    # PyTorch's archives keep everything in one folder.
    inner = {name.partition("/")[2] for name in names} | set(names)
    if {"config.json", "model.weights.h5"} <= set(names):
        return KERAS
    if inner & {"archive_format", "serialized_exported_program.json"}:
        return PT2
    if "constants.pkl" in inner:
        raise ModelError(
            "is TorchScript; to load it runs the code in it", where=where, hint=_EXPORT_TORCH
        )
    if "data.pkl" in inner:
        raise ModelError(
            "is pickled by PyTorch; to load it runs the code in it", where=where, hint=_EXPORT_TORCH
        )
    by_name = _by_suffix(path)
    if by_name in (KERAS, PT2):
        raise ModelError(f"is an archive, but not {by_name.title}", where=where, hint=_AGAIN)
    raise ModelError("is an archive of no known format", where=where, hint=_KNOWN)


def _refuse(path: Path, head: bytes) -> None:
    """Raise for the formats that are known and not read."""
    where = str(path)
    if path.name in ("saved_model.pb", "saved_model.pbtxt"):
        raise ModelError(
            "is one file of a SavedModel", where=where, hint="Give the folder that it lies in."
        )
    # Protocol 2 and later; PyTorch's files of before 2020 are such.
    if len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5:
        raise ModelError(
            "is pickled; to load it runs the code in it", where=where, hint=_EXPORT_TORCH
        )
    if head[4:8] == b"ORTM":
        raise ModelError(
            "is in ONNX Runtime's own format",
            where=where,
            hint="Give the .onnx that it was made of.",
        )
