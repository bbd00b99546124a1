"""A record's line: text and back, its identity, and the quick view that look-ups are made of.

A line's identity is the SHA-256 of its text. So the same measurement can't be in a log twice, two
measurements of the same candidate are two records, and what a merge of logs gives does not depend
on its order. Texts are carried as they are and never written anew: fields that this version does
not know survive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.tuning.log.record import (
    SCHEMA,
    AnyLine,
    Count,
    Hash,
    HashOrNone,
    MeasuredPoint,
    Seconds,
    Target,
    Text,
    Versions,
    Workload,
)

#: A longer line is not read: no trace of a real kernel comes near.
MAX_LINE_BYTES = 1 << 20

T = TypeVar("T")

_decoder = msgspec.json.Decoder(AnyLine)
_NOTHING = msgspec.Raw(b"null")
#: How every line begins. What stands before it on a line of its own was torn, and then joined.
_FIRST_FIELD = b'{"type":"'
_BEGINNING = re.compile(b"(?=%s)" % re.escape(_FIRST_FIELD))
#: How this version writes a line, up to its workload's hash.
_OURS = re.compile(
    rb'\{"type":"(?:trial|finished|comparison|workload)","schema":%d,"workload":\{"hash":"([0-9a-f]{16})"'
    % SCHEMA
)


class _Schema(msgspec.Struct):
    schema: int


class _Named(msgspec.Struct, gc=False):
    hash: Hash


class _Origin(msgspec.Struct):
    workload: Workload
    versions: Versions


class Summary(msgspec.Struct, gc=False):
    """The fields of a line that look-ups go by; much faster to read than all of it.

    ``target``, ``device``, ``trace`` and ``module`` are JSON texts that have been scanned and not
    looked into.
    """

    type: Literal["trial", "finished", "comparison", "workload"]
    schema: Annotated[int, Meta(ge=SCHEMA, le=SCHEMA)]
    workload: _Named
    date: Text
    target: msgspec.Raw = _NOTHING
    device: msgspec.Raw = _NOTHING
    trace: msgspec.Raw = _NOTHING
    module: msgspec.Raw = _NOTHING
    kernel: HashOrNone = ""
    run_secs: tuple[Seconds, ...] = ()
    baseline_secs: tuple[Seconds, ...] = ()
    error: Text | None = None
    trials: Count = 0
    exhausted: bool = False
    is_baseline: bool = msgspec.field(default=False, name="untuned")
    confirmed: bool = False

    def __post_init__(self) -> None:
        if self.baseline_secs and len(self.baseline_secs) != len(self.run_secs):
            raise ValueError("Expected as many `$.baseline_secs` as `$.run_secs`")


_summary_decoder = msgspec.json.Decoder(Summary)


class Entry:
    """One line of a store, valid as far as its summary goes.

    Attributes:
        text: the line, without its newline.
        digest: its identity, 64 hexadecimal digits.
        summary: what look-ups go by.
    """

    def __init__(self, text: bytes) -> None:
        """Raise ValueError where ``text`` is no line of a log that this version reads."""
        self.text = text
        if len(text) > MAX_LINE_BYTES:
            raise ValueError(f"the line has more than {MAX_LINE_BYTES} bytes")
        if b"\n" in text or text != text.strip():  # from a database: a file could not hold it
            raise ValueError("the record is not one line")
        try:
            text.decode()  # fields that are skipped must be UTF-8, too
            self.summary = _summary_decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(_reason(text, error)) from None
        self.digest = digest_of(text)

    @property
    def workload(self) -> str:
        """The hash of its workload."""
        return self.summary.workload.hash

    @cached_property
    def line(self) -> AnyLine:
        """All of it. Raises ValueError where a field does not hold what it should."""
        return _whole(self.text)

    @property
    def point(self) -> MeasuredPoint:
        """What a cost model learns from a trial; much faster to read than all of it.

        Raises ValueError where that is malformed.
        """
        return _parsed(self.text, MeasuredPoint)

    def check(self) -> None:
        """Raise ValueError where a field does not hold what it should; a trace is some list."""
        if self.summary.type in ("comparison", "workload"):
            _whole(self.text)
            return
        _parsed(self.text, _Origin)
        _target(bytes(self.summary.target))
        _device(bytes(self.summary.device))
        if self.summary.type == "trial" and bytes(self.summary.trace)[:1] != b"[":
            raise ValueError("Expected `array` - at `$.trace`")

    @property
    def target(self) -> Target:
        """Its target. Raises ValueError where that is malformed."""
        return _target(bytes(self.summary.target))

    @property
    def device(self) -> Fingerprint:
        """Its device. Raises ValueError where that is malformed."""
        return _device(bytes(self.summary.device))


# Thousands of lines share a target and a device.
@lru_cache(maxsize=1024)
def _target(text: bytes) -> Target:
    return _parsed(text, Target)


@lru_cache(maxsize=1024)
def _device(text: bytes) -> Fingerprint:
    return _parsed(text, Fingerprint)


def _parsed(text: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _whole(text: bytes) -> AnyLine:
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _reason(text: bytes, error: Exception) -> str:
    try:
        schema = msgspec.json.decode(text, type=_Schema).schema
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return str(error)
    if schema != SCHEMA:
        return f"schema {str(schema)[:20]} is not supported (this version reads {SCHEMA})"
    return str(error)


def encode(line: AnyLine) -> bytes:
    """``line`` as JSON, without a newline."""
    return msgspec.json.encode(line)


def decode(text: bytes) -> AnyLine:
    """Parse one line of a log.

    Raises:
        ValueError: it is too long, torn, of another schema, or does not hold what it should.
    """
    return Entry(text).line


def digest_of(text: bytes) -> str:
    """The identity of a line: its SHA-256 in hexadecimal."""
    return sha256(text).hexdigest()


def workload_at_beginning(text: bytes) -> str | None:
    """The workload's hash in a line that begins as this version writes them; it may be torn."""
    found = _OURS.match(text)
    return found.group(1).decode() if found else None


def is_joined(text: bytes) -> bool:
    """Whether more than one record may be on a line, see :func:`entries_of`."""
    return text.find(_FIRST_FIELD, 1) > 0


class Unreadable(ValueError):
    """Why ``text`` is no record."""

    def __init__(self, text: bytes, reason: str) -> None:
        super().__init__(reason)
        self.text = text


def entries_of(text: bytes) -> Iterator[Entry | Unreadable]:
    """The records on one line of a file: one, as a rule.

    Where a file whose last line was torn, or lacks its newline, was joined with another, a line
    holds more, and the whole ones are found.
    """
    text = text.strip()
    if not text:
        return
    try:
        yield Entry(text)
        return
    except ValueError as error:
        pieces = [piece.strip() for piece in _BEGINNING.split(text) if piece.strip()]
        if len(pieces) < 2:
            yield Unreadable(text, str(error))
            return
    for piece in pieces:
        try:
            yield Entry(piece)
        except ValueError as error:
            yield Unreadable(piece, str(error))


def age(entry: Entry) -> tuple[str, int, bool, str]:
    """Sorts entries, the newest last."""
    # Of one date (old ones are whole seconds), the one of more rounds is newer: a candidate is
    # first measured briefly. Of as many, the one that takes the other's word back.
    summary = entry.summary
    return summary.date, len(summary.run_secs), not summary.confirmed, entry.digest


def speedups(entries: Iterable[Entry]) -> list[float]:
    """How many times as fast as the baseline each round was, of all ``entries``."""
    return [
        base / run
        for entry in entries
        if entry.summary.baseline_secs
        for base, run in zip(entry.summary.baseline_secs, entry.summary.run_secs, strict=True)
    ]
