"""A network's file, of any format, as ONNX in memory."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tvmcomp.errors import ModelError
from tvmcomp.frontend.formats import ONNX, Format, format_of

if TYPE_CHECKING:
    import onnx


def to_onnx(
    path: Path,
    format_: Format | None = None,
    *,
    signature: str | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> onnx.ModelProto:
    """Convert the network in ``path``, which is of another format than ONNX.

    Args:
        path: a file, or a SavedModel folder.
        format_: its format, where it is known already.
        signature: which of a SavedModel's signatures.
        shapes: full shapes of inputs, by name, for formats that are exported for given shapes;
            the others keep their open dimensions.

    Raises:
        ModelError: the file can't be read or converted, or a package that reads it is missing.
    """
    format_ = format_ or format_of(path)
    assert format_.module is not None, "ONNX is read by tvmcomp.frontend.onnx"
    check_signature(signature, format_, path)
    for package in format_.packages:
        require(package, format_, path)
    given = {"signature": signature, "shapes": shapes}
    options = {name: given[name] for name in format_.options}
    converted: onnx.ModelProto = importlib.import_module(format_.module).convert(path, **options)
    return converted


def check_signature(signature: str | None, format_: Format, path: Path) -> None:
    """Raise ModelError where a signature was given for a format that has none."""
    if signature is not None and "signature" not in format_.options:
        raise ModelError(
            f"is {format_.title}, which has no signatures",
            where=str(path),
            hint="Leave the signature out; only a SavedModel has several.",
        )


def require(package: str, format_: Format, path: Path) -> None:
    """Raise ModelError, with the command that installs it, where ``package`` is missing."""
    if importlib.util.find_spec(package) is None:
        raise ModelError(
            f"is {format_.title}; the package {package!r} that reads it is not installed",
            where=str(path),
            hint=f"Install it: pip install 'tvmcomp[{format_.extra}]'",
        )


def digest_of(path: Path) -> str:
    """The SHA-256 of a model file in hexadecimal; of a folder, that of its files' names and bytes.

    Raises:
        OSError: it can't be read.
    """
    if not path.is_dir():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for file_path in sorted(each for each in path.rglob("*") if each.is_file()):
        content = file_path.read_bytes()
        name = file_path.relative_to(path).as_posix()
        digest.update(f"{name}\0{len(content)}\0".encode(errors="surrogateescape") + content)
    return digest.hexdigest()


def read_model(
    path: Path,
    *,
    signature: str | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[onnx.ModelProto, str]:
    """The network in ``path`` as ONNX, and the digest of its file; see :func:`digest_of`.

    Args:
        path: a file or SavedModel folder.
        signature: as of :func:`to_onnx`.
        shapes: as of :func:`to_onnx`.

    Raises:
        ModelError: as :func:`to_onnx`; or it is ONNX, and not right.
    """
    from tvmcomp.frontend.onnx.file import check_model, read_onnx

    format_ = format_of(path)
    check_signature(signature, format_, path)
    if format_ is ONNX:
        return read_onnx(path)
    try:
        digest = digest_of(path)
    except OSError as error:
        raise ModelError(f"can't be read: {error.strerror or error}", where=str(path)) from error
    model = to_onnx(path, format_, signature=signature, shapes=shapes)
    check_model(model, str(path), None)
    return model, digest
