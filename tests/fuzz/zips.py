"""Zip files rewritten: other members, names and methods, and headers that lie."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from random import Random

import odd

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_CENTRAL, _LOCAL, _END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"
#: Offset and width of a field: versions, flag, method, time, crc, sizes, name's and extra's length.
_CENTRAL_FIELDS = ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (42, 4))
_LOCAL_FIELDS = ((6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2))
_END_FIELDS = ((8, 2), (10, 2), (12, 4), (16, 4))


def unpacked(data: bytes) -> list[tuple[str, bytes]]:
    """Names and contents of a valid zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def packed(
    members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED, comment: bytes = b""
) -> bytes:
    """A zip of ``members``, two of one name included."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.comment = comment
            for name, content in members:
                archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def shuffled(members: list[tuple[str, bytes]], rng: Random) -> list[tuple[str, bytes]]:
    """Members with one missing, doubled, renamed, emptied, damaged or added."""
    members = list(members)
    at = rng.randrange(len(members))
    name, content = members[at]
    kind = rng.randrange(7)
    if kind == 0:
        del members[at]
    elif kind == 1:
        members.append((name, content if rng.random() < 0.5 else b""))
    elif kind == 2:
        odd_name = rng.choice(odd.NAMES)[:60_000]
        members[at] = (rng.choice([odd_name, f"{odd_name}.npy", name.upper()]), content)
    elif kind == 3:
        members[at] = (name, b"")
    elif kind == 4:
        members[at] = (name, odd.damaged(content, rng))
    elif kind == 5:
        members.append((rng.choice(odd.NAMES)[:60_000], b"\0" * rng.choice([0, 1, 1 << 20])))
    else:
        rng.shuffle(members)
    return members


def method(rng: Random) -> int:
    """Mostly stored, as numpy and tvmcomp write."""
    return rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_STORED, *_METHODS])


def lying(data: bytes, rng: Random) -> bytes:
    """A zip in which one field of a header is another."""
    signature, fields = rng.choice(
        [(_CENTRAL, _CENTRAL_FIELDS), (_LOCAL, _LOCAL_FIELDS), (_END, _END_FIELDS)]
    )
    places = [at for at in range(len(data)) if data.startswith(signature, at)]
    if not places:
        return odd.damaged(data, rng)
    offset, width = rng.choice(fields)
    at = rng.choice(places) + offset
    format_ = "<H" if width == 2 else "<L"
    number = rng.choice([odd.integer(rng), rng.randrange(20)]) % (1 << 8 * width)
    return data[:at] + struct.pack(format_, number) + data[at + width :]
