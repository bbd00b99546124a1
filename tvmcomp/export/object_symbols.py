"""Change the symbols of an object file, so that many networks can be linked into one program.

An ELF file's symbols point into a table of names. The table is copied to the end of the file with
the new names behind the old ones, and the symbols are pointed there: no code moves.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_SYMBOL_TABLE = 2  # SHT_SYMTAB
_WEAK = 2  # STB_WEAK
_UNDEFINED_GLOBAL = 1 << 4  # STB_GLOBAL, STT_NOTYPE


@dataclass(frozen=True)
class _Class:
    """Where the fields of a file with addresses of one width lie: ``(offset, format)`` in records.

    Attributes:
        table: of sections, in the file's header; ``counts`` is the size and number of its entries.
        extent: a section's place in the file and its size, in its entry.
        link: the index of the section that it refers to, in its entry.
        symbol: bytes of a symbol. Its name is first, then come ``fields``.
        fields: the others; ``order`` says which they are.
    """

    table: tuple[int, str]
    counts: int
    extent: tuple[int, str]
    link: int
    symbol: int
    fields: str
    order: tuple[str, ...]


_CLASSES = {
    1: _Class(
        (32, "<I"), 46, (16, "<II"), 24, 16, "<IIBBH", ("value", "size", "info", "other", "section")
    ),
    2: _Class(
        (40, "<Q"), 58, (24, "<QQ"), 40, 24, "<BBHQQ", ("info", "other", "section", "value", "size")
    ),
}


def with_prefix(data: bytes, old: str, new: str) -> bytes:
    """The object file with ``new`` where symbols' names begin with ``old``.

    Args:
        data: a little-endian ELF object file, of 32 or 64 bits.
        old: the prefix to replace.
        new: what stands in its place.

    Raises:
        ValueError: it is no such file.
    """
    kind = _class(data)
    made = bytearray(data)
    for table, names_header, names in _symbol_tables(data, kind):
        for symbol in _symbols(data, kind, table):
            name = _name(names, data, symbol)
            if name.startswith(old):
                struct.pack_into("<I", made, symbol, len(names))
                names += (new + name.removeprefix(old)).encode() + b"\0"
        struct.pack_into(kind.extent[1], made, names_header + kind.extent[0], len(made), len(names))
        made += names
    return bytes(made)


def with_weak_open(data: bytes, prefix: str) -> bytes:
    """The object file with its weak definitions of names with ``prefix`` made undefined.

    A linker takes no member out of an archive for what has a definition already, be it a weak one.

    Args:
        data: as :func:`with_prefix` has it.
        prefix: of the names.

    Raises:
        ValueError: it is no such file.
    """
    kind = _class(data)
    made = bytearray(data)
    for table, _, names in _symbol_tables(data, kind):
        for symbol in _symbols(data, kind, table):
            values = struct.unpack_from(kind.fields, data, symbol + 4)
            fields = dict(zip(kind.order, values, strict=True))
            if fields["info"] >> 4 == _WEAK and _name(names, data, symbol).startswith(prefix):
                fields.update(value=0, size=0, info=_UNDEFINED_GLOBAL, other=0, section=0)
                struct.pack_into(kind.fields, made, symbol + 4, *fields.values())
    return bytes(made)


def _class(data: bytes) -> _Class:
    little_endian = data[:4] == b"\x7fELF" and data[5:6] == b"\x01"
    found = _CLASSES.get(data[4]) if little_endian else None
    if found is None:
        raise ValueError("no little-endian ELF file")
    return found


def _sections(data: bytes, kind: _Class) -> list[int]:
    """Where the sections' entries are."""
    (table,) = struct.unpack_from(kind.table[1], data, kind.table[0])
    size, count = struct.unpack_from("<HH", data, kind.counts)
    if count == 0 and table:  # more than 16 bits hold: the first section's size has it
        _, count = struct.unpack_from(kind.extent[1], data, table + kind.extent[0])
    return [table + i * size for i in range(count)]


def _symbol_tables(data: bytes, kind: _Class) -> Iterator[tuple[int, int, bytearray]]:
    """Of each table of symbols: its section's entry, that of its names, and a copy of these."""
    sections = _sections(data, kind)
    for section in sections:
        if struct.unpack_from("<I", data, section + 4)[0] == _SYMBOL_TABLE:
            (link,) = struct.unpack_from("<I", data, section + kind.link)
            start, size = struct.unpack_from(kind.extent[1], data, sections[link] + kind.extent[0])
            yield section, sections[link], bytearray(data[start : start + size])


def _symbols(data: bytes, kind: _Class, table: int) -> range:
    """Where the symbols of a table are."""
    start, size = struct.unpack_from(kind.extent[1], data, table + kind.extent[0])
    return range(start, start + size, kind.symbol)


def _name(names: bytearray, data: bytes, symbol: int) -> str:
    (at,) = struct.unpack_from("<I", data, symbol)
    return bytes(names[at : names.index(0, at)]).decode("utf-8", "replace")
