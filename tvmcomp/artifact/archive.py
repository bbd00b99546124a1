"""The container of an artifact: a zip with a digest over all of it.

Nothing is ever extracted to a path that a file names, and no size is believed before it is
compared with the file's own.

A file is read once, to memory of this process alone: what is verified is then what runs, whatever
becomes of the file. Mapped weights would change with it (`cp new.tvmc old.tvmc` writes to the same
file), and the process would be killed where the file became shorter. Processes that are to share
the weights load them first and fork then.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import struct
import weakref
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NoReturn, cast

import numpy as np

from tvmcomp.artifact.zip_members import LOCAL_HEADER, USED_IN_PLACE, content
from tvmcomp.errors import ArtifactError
from tvmcomp.replaced_file import replaced_file

#: Bytes that a stored member's data is aligned to; what generated code assumes of a tensor.
ALIGNMENT = 64

_REQUIRED = ("metadata.json", "lib.so", "constants.bin")
_OPTIONAL = ("code.tar.xz", "golden.npz")
#: What is not used where it lies is deflated where that makes it smaller by such a share.
_LEAST_SAVED = 1 / 8
_COMMENT_PREFIX = b"sha256:"
_COMMENT_LENGTH = len(_COMMENT_PREFIX) + 64
_END_RECORD = b"PK\x05\x06"
_END_LENGTH = 22
_ZIP64_EXTRA_LENGTH = 20
#: Id of the extra field that pads a local header; the one Android's zipalign uses.
_PADDING_ID = 0xD935

#: What was read and is in use, by its digest.
_read_already: weakref.WeakValueDictionary[str, np.ndarray] = weakref.WeakValueDictionary()


def write_archive(path: Path, members: Mapping[str, bytes]) -> None:
    """Write ``members`` to ``path``, atomically, and read them back before it takes its place.

    Raises:
        ArtifactError: the file can't be written.
    """
    try:
        with replaced_file(path) as temporary:
            _write_zip(temporary, members)
            written = read_archive(temporary)
            if any(written[name].data != data for name, data in members.items()):
                raise ArtifactError("was not written as it should be", where=str(path))
    except OSError as error:
        raise ArtifactError(f"can't be written: {error.strerror}", where=str(path)) from None


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """Read a file, verify its digest, and find its members.

    Returns:
        uint8 arrays by member name; of stored members read-only views of memory that is this
        process's own, and the same for the same file as long as one is in use.

    Raises:
        ArtifactError: the file is missing, is no artifact, is truncated, or was changed.
    """
    where = str(path)
    try:
        memory = _read(path)
    except OSError as error:
        raise ArtifactError(f"can't be read: {error.strerror}", where=where) from None
    data = np.frombuffer(memory, np.uint8)
    data.flags.writeable = False  # others may share it
    digest = hashlib.sha256(data[:-_COMMENT_LENGTH].data).hexdigest()
    if data[-_COMMENT_LENGTH:].tobytes() != _COMMENT_PREFIX + digest.encode():
        raise ArtifactError(
            "is damaged or was changed: its SHA-256 digest does not match its content",
            where=where,
            hint="Copy it again from where it was built, or build it again.",
        )
    # The same file, loaded again while the first is in use, takes no more memory.
    return _members(memory, _read_already.setdefault(digest, data), where)


def private_memory(size: int) -> mmap.mmap:
    """``size`` bytes, at least one, for weights; they begin at a multiple of the page size.

    Raises:
        OSError: there is not so much memory.
    """
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # Weights are read from end to end in every run: small pages cost ResNet-18 4% of its time.
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _read(path: Path) -> mmap.mmap:
    """The file's bytes in private memory, which begins at a multiple of the page size.

    Raises:
        OSError: it can't be read, or there is not so much memory.
        ArtifactError: it does not begin and end as an artifact does.
    """
    if not path.is_file():
        path.stat()  # raises where it is missing
        raise ArtifactError("is not a file", where=str(path))
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(4) != b"PK\x03\x04":
            raise ArtifactError(
                "is not a tvmcomp artifact",
                where=str(path),
                hint="An artifact is the .tvmc file that `tvmcomp build` writes.",
            )
        end = size - _COMMENT_LENGTH - _END_LENGTH
        if end < 0 or os.pread(file.fileno(), len(_END_RECORD), end) != _END_RECORD:
            _raise_without_end(path)
        memory = private_memory(size)
        file.seek(0)
        done = 0
        while done < size:
            count = file.readinto(memoryview(memory)[done:])
            if not count:  # someone truncates it just now
                _raise_without_end(path)
            done += count
    return memory


def _write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = _COMMENT_PREFIX + b"0" * 64
        for name, data in members.items():
            # A fixed date keeps the file the same for the same content.
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            position = archive.fp.tell() if archive.fp else 0
            unpadded = position + LOCAL_HEADER.size + len(name) + 4
            if len(data) * 1.05 > zipfile.ZIP64_LIMIT:  # zipfile's rule for a long header
                unpadded += _ZIP64_EXTRA_LENGTH
            padding = -unpadded % ALIGNMENT
            if name != USED_IN_PLACE and _shrinks(data):
                info.compress_type = zipfile.ZIP_DEFLATED
            else:
                info.extra = struct.pack("<HH", _PADDING_ID, padding) + bytes(padding)
            archive.writestr(info, data, compresslevel=9)
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


def _shrinks(data: bytes) -> bool:
    return len(zlib.compress(data, 1)) <= (1 - _LEAST_SAVED) * len(data)


def _members(memory: mmap.mmap, data: np.ndarray, where: str) -> dict[str, np.ndarray]:
    """The members of a file whose digest is right; refuse what tvmcomp never writes.

    Args:
        memory: the file.
        data: its bytes, there or elsewhere.
        where: names it in errors.
    """
    try:
        with zipfile.ZipFile(cast("IO[bytes]", memory)) as archive:  # it reads and seeks
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
    return {info.filename: content(info, data, where) for info in infos}


def _raise_without_end(path: Path) -> NoReturn:
    try:
        with zipfile.ZipFile(path) as archive:
            is_ours = archive.comment.startswith(_COMMENT_PREFIX)
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        is_ours = True  # it begins like one, and is no zip file any more
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
