"""The container of an artifact: a zip of stored members with a digest over all of it.

Nothing is ever extracted to a path that a file names, and no size is believed before it is
compared with the file's own.
"""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tvmcomp.errors import ArtifactError

#: Bytes that each member's data is aligned to; what TVM's generated code assumes of a tensor.
ALIGNMENT = 64

_REQUIRED = ("metadata.json", "lib.so", "constants.bin")
_OPTIONAL = ("golden.npz",)
_COMMENT_PREFIX = b"sha256:"
_COMMENT_LENGTH = len(_COMMENT_PREFIX) + 64
_END_RECORD = b"PK\x05\x06"
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
#: Id of the extra field that pads a local header; the one Android's zipalign uses.
_PADDING_ID = 0xD935


def write_archive(path: Path, members: Mapping[str, bytes]) -> None:
    """Write ``members`` to ``path``, atomically.

    Raises:
        ArtifactError: the file can't be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            os.close(handle)
            _write_zip(Path(temporary), members)
            Path(temporary).chmod(0o666 & ~_umask())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ArtifactError(f"can't be written: {error.strerror}", where=str(path)) from None


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """Verify the file's digest and map its members.

    Returns:
        uint8 arrays by member name, private (copy-on-write) views of the mapped file.

    Raises:
        ArtifactError: the file is missing, is no artifact, is truncated, or was changed.
    """
    where = str(path)
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ArtifactError("is not a file", where=where)
        with path.open("rb") as file:
            magic = file.read(4)
        if magic != b"PK\x03\x04":
            raise ArtifactError(
                "is not a tvmcomp artifact",
                where=where,
                hint="An artifact is the .tvmc file that `tvmcomp build` writes.",
            )
        data = np.memmap(path, dtype=np.uint8, mode="c")
    except OSError as error:
        raise ArtifactError(f"can't be read: {error.strerror}", where=where) from None
    comment = data[-_COMMENT_LENGTH:].tobytes()
    end = data[-_COMMENT_LENGTH - 22 : -_COMMENT_LENGTH][:4].tobytes()
    if size < _COMMENT_LENGTH + 22 or end != _END_RECORD:
        _raise_without_end(path)
    digest = hashlib.sha256(data[:-_COMMENT_LENGTH].data).hexdigest()
    if comment != _COMMENT_PREFIX + digest.encode():
        raise ArtifactError(
            "is damaged or was changed: its SHA-256 digest does not match its content",
            where=where,
            hint="Copy it again from where it was built, or build it again.",
        )
    return _members(path, data)


def _write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = _COMMENT_PREFIX + b"0" * 64
        for name, data in members.items():
            # A fixed date keeps the file the same for the same content.
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            position = archive.fp.tell() if archive.fp else 0
            unpadded = position + _LOCAL_HEADER.size + len(name) + 4
            padding = -unpadded % ALIGNMENT
            info.extra = struct.pack("<HH", _PADDING_ID, padding) + bytes(padding)
            archive.writestr(info, data)
    body = path.stat().st_size - _COMMENT_LENGTH
    with path.open("r+b") as file:
        digest = hashlib.sha256()
        left = body
        while left:
            chunk = file.read(min(left, 1 << 20))
            digest.update(chunk)
            left -= len(chunk)
        file.seek(body)
        file.write(_COMMENT_PREFIX + digest.hexdigest().encode())
        file.flush()
        os.fsync(file.fileno())


def _members(path: Path, data: np.ndarray) -> dict[str, np.ndarray]:
    """Map the members of a file whose digest is right; refuse what tvmcomp never writes."""
    where = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise ArtifactError(f"is not a readable zip: {error}", where=where) from None
    names = [info.filename for info in infos]
    unknown = sorted(set(names) - {*_REQUIRED, *_OPTIONAL})
    missing = sorted(set(_REQUIRED) - set(names))
    if unknown or missing or len(set(names)) != len(names):
        raise ArtifactError(
            f"holds the members {names}; an artifact holds each of {list(_REQUIRED)} once, "
            f"may hold {list(_OPTIONAL)}, and nothing else",
            where=where,
        )
    members = {}
    for info in infos:
        start = _data_start(info, data)
        stop = start + info.file_size
        if (
            info.compress_type != zipfile.ZIP_STORED
            or info.flag_bits & 1
            or info.file_size != info.compress_size
            or start < 0
            or stop > data.size
        ):
            raise ArtifactError(
                f"member {info.filename} is compressed, encrypted, or reaches past the file's end",
                where=where,
            )
        members[info.filename] = np.asarray(data[start:stop])
    return members


def _data_start(info: zipfile.ZipInfo, data: np.ndarray) -> int:
    """Where a member's bytes begin: after its local header, name and extra field; -1: nowhere."""
    header = data[info.header_offset : info.header_offset + _LOCAL_HEADER.size].tobytes()
    if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
        return -1
    *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    return int(info.header_offset) + _LOCAL_HEADER.size + int(name_length) + int(extra_length)


def _raise_without_end(path: Path) -> None:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            is_ours = archive.comment.startswith(_COMMENT_PREFIX)
        if not is_ours:
            raise ArtifactError(
                "is a zip file, but not a tvmcomp artifact: it carries no digest",
                where=str(path),
                hint="An artifact is the .tvmc file that `tvmcomp build` writes.",
            )
    raise ArtifactError(
        "is truncated, or something was appended to it",
        where=str(path),
        hint="Copy it again from where it was built, or build it again.",
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
