"""The members of an artifact's zip, where they lie in it; no size is believed."""

from __future__ import annotations

import struct
import zipfile
import zlib

import numpy as np

from tvmcomp.errors import ArtifactError

#: A zip's header in front of each member.
LOCAL_HEADER = struct.Struct("<4s5H3L2H")
#: The member that is never deflated.
USED_IN_PLACE = "constants.bin"
#: A byte of a deflated member gives at most so many.
_MOST_FROM_ONE = 1032


def content(info: zipfile.ZipInfo, data: np.ndarray, where: str) -> np.ndarray:
    """The bytes of a member, where they lie or inflated.

    Args:
        info: what the zip's directory says of it.
        data: the whole file, uint8.
        where: names it in errors.

    Raises:
        ArtifactError: there is no such member, or it is not as tvmcomp writes it.
    """
    start = _data_start(info, data)
    stop = start + info.compress_size
    deflated = info.compress_type == zipfile.ZIP_DEFLATED and info.filename != USED_IN_PLACE
    known = deflated or info.compress_type == zipfile.ZIP_STORED
    if not known or info.flag_bits & 1 or start < 0 or stop > data.size:
        raise ArtifactError(
            f"member {info.filename} is compressed as tvmcomp does not, encrypted, or reaches past "
            "the file's end",
            where=where,
        )
    stored = np.asarray(data[start:stop])
    found = _inflated(stored, info.file_size) if deflated else stored
    if found is None or found.size != info.file_size:
        raise ArtifactError(f"member {info.filename} has not the size that is said", where=where)
    return found


def _inflated(stored: np.ndarray, size: int) -> np.ndarray | None:
    """What a deflated member gives, at most a byte more than ``size``; None: nothing."""
    if size > _MOST_FROM_ONE * stored.size:
        return None
    decoder = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        return np.frombuffer(decoder.decompress(stored.data, size + 1), np.uint8)
    except zlib.error:
        return None


def _data_start(info: zipfile.ZipInfo, data: np.ndarray) -> int:
    """Where a member's bytes begin: after its local header, name and extra field; -1: nowhere."""
    header = data[info.header_offset : info.header_offset + LOCAL_HEADER.size].tobytes()
    if len(header) < LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
        return -1
    *_, name_length, extra_length = LOCAL_HEADER.unpack(header)
    return int(info.header_offset) + LOCAL_HEADER.size + int(name_length) + int(extra_length)
