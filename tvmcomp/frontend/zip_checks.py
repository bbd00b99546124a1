"""What must hold of a zip archive before a framework reads it: no bombs, no paths out of it."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from tvmcomp.errors import ModelError

#: Members of an archive.
_MOST_MEMBERS = 100_000
#: Bytes that all members may unpack to, beside so many times the archive's own.
_UNPACKED, _GROWTH = 16 << 20, 16
_HINT = "The file is damaged or hostile; save it again."


def members(path: Path, *, where: str) -> list[zipfile.ZipInfo]:
    """The members of the archive in ``path``, checked by the archive's directory.

    Raises:
        ModelError: it is no zip archive, is encrypted, has too many members or two of one name,
            unpacks to far more than itself, or a name leads out of a folder.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, UnicodeError) as error:
        raise ModelError(
            f"is not a zip archive, or is truncated: {error}", where=where, hint=_HINT
        ) from error
    if len(found) > _MOST_MEMBERS:
        raise ModelError(f"has {len(found):,} members", where=where, hint=_HINT)
    names = [member.filename for member in found]
    if len(set(names)) < len(names):
        raise ModelError("has two members of one name", where=where, hint=_HINT)
    for member in found:
        parts = PurePosixPath(member.filename).parts
        if "\\" in member.filename or member.filename.startswith("/") or ".." in parts:
            raise ModelError(
                f"has a member outside its folder: {member.filename[:80]!r}",
                where=where,
                hint=_HINT,
            )
        if member.flag_bits & 1:
            raise ModelError("is encrypted", where=where, hint="Save it without a password.")
    unpacked, own = sum(member.file_size for member in found), path.stat().st_size
    if unpacked > _UNPACKED + _GROWTH * own:
        raise ModelError(
            f"unpacks to {unpacked:,} bytes, {unpacked // max(own, 1):,} times its own",
            where=where,
            hint=_HINT,
        )
    return found


def read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, *, where: str) -> bytes:
    """The content of ``member``, as long as the directory says.

    Raises:
        ModelError: it can't be read, or is damaged.
    """
    try:
        with archive.open(member) as file:
            content = file.read(member.file_size + 1)
    # zipfile and what it unpacks with raise of every kind.
    except Exception as error:
        raise ModelError(
            f"member {member.filename[:80]!r} is damaged: {error}", where=where, hint=_HINT
        ) from error
    if len(content) != member.file_size:
        raise ModelError(
            f"member {member.filename[:80]!r} is of another length than it says",
            where=where,
            hint=_HINT,
        )
    return content
