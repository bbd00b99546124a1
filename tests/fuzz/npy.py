""".npy headers edited, and .npz files of such arrays."""

from __future__ import annotations

import re
import struct
from random import Random

import odd
import zips

_DESCRS = (
    *("'O'", "'<f8'", "'>f4'", "'<f2'", "'V8'", "'|b1'", "'<U10'", "'<M8[ns]'", "''", "'<i4'"),
    *("[('a', '<i4')]", "[]", "'<f4,<f4'", "1", "None", "'<f4'" + " " * 70_000, "'<c8'", "'S0'"),
    *("[('a', [('b', [('c', '<i4')])])]", "('<f4', (2, 2))", "'<f999'", "'<U999999999'"),
)
_SHAPES = (
    *("()", "(0,)", "(1,)", "(-1,)", "(3, 4)", "(12,)", "(1, 3, 4)", "(2, 3, 4)", "(3.0,)"),
    *("(True, 4)", "(1 << 3,)", "(1099511627776,)", "(1099511627776, 1099511627776)", "[3, 4]"),
    *("(" + "9" * 5000 + ",)", "(" * 300 + ")" * 300, "(" * 9000 + ")" * 9000, "None", "(0, " * 2),
    *("(" + "1, " * 70 + ")", "(0, 9223372036854775807)", "(4294967296, 4294967296, 0)"),
)


def changed(data: bytes, rng: Random) -> bytes:
    """An .npy file with another header, or damaged."""
    kind = rng.randrange(8)
    if kind == 0:
        return odd.damaged(data, rng)
    start = data.index(b"{")
    length = struct.unpack("<H", data[8:10])[0]
    header, body = data[start : 10 + length].decode("latin1").rstrip(), data[10 + length :]
    if kind <= 2:
        header = re.sub(
            r"'descr': .*?, 'fortran", f"'descr': {rng.choice(_DESCRS)}, 'fortran", header
        )
    elif kind <= 5:
        header = re.sub(r"'shape': .*\)", f"'shape': {rng.choice(_SHAPES)}", header)
    elif kind == 6:
        header = header.replace("False", rng.choice(["True", "None", "0", "'x'", "False"]))
    else:
        header = rng.choice(["", "{}", "[" * 9000, "1", "{'a': " * 400, "'" + "x" * 60_000 + "'"])
    if rng.random() < 0.2:
        body = odd.damaged(body, rng)
    encoded = header.encode() + b"\n"
    length = odd.integer(rng) % (1 << 16) if rng.random() < 0.1 else len(encoded)
    if rng.random() < 0.2 or length >= 1 << 16:
        version = rng.choice([b"\x02\x00", b"\x03\x00"])
        return b"\x93NUMPY" + version + struct.pack("<L", length) + encoded + body
    version = rng.choice([b"\x01\x00"] * 20 + [b"\x00\x00", b"\x09\x07"])
    return b"\x93NUMPY" + version + struct.pack("<H", length) + encoded + body


def changed_npz(data: bytes, rng: Random) -> bytes:
    """An .npz file with another array, other members, a lying header, or damaged."""
    kind = rng.randrange(6)
    if kind == 0:
        return odd.damaged(data, rng)
    members = zips.unpacked(data)
    if kind == 1:
        members = zips.shuffled(members, rng)
    elif kind <= 4:
        at = rng.randrange(len(members))
        members[at] = (members[at][0], changed(members[at][1], rng))
    archive = zips.packed(members, zips.method(rng))
    return zips.lying(archive, rng) if kind == 5 or rng.random() < 0.1 else archive
