"""The tuning log's lines: what they hold, and how they become text and back.

A log is a text file of JSON objects, one a line, each standing alone: lines may be joined, sorted,
merged by git or deleted. ``type`` tells the two kinds apart:

- ``trial``: one candidate that was built and measured (:class:`Trial`).
- ``finished``: a search that ended (:class:`Finished`), so that it is not run again.

``schema`` is 1. A reader skips lines of other schemas and says so; it ignores fields it does not
know, so a later version may add some without a new number.
"""

from __future__ import annotations

from datetime import datetime, timezone
from importlib.metadata import version
from statistics import median
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tvmcomp.fingerprint import Fingerprint
from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.features import architecture
from tvmcomp.tuning.task import Argument
from tvmcomp.tvm_import import tvm

SCHEMA = 1

#: A longer line is not read: no trace of a real kernel comes near.
MAX_LINE_BYTES = 1 << 20

_Text = Annotated[str, Meta(max_length=2000)]
_Seconds = Annotated[float, Meta(gt=0, lt=1e6)]


class Workload(msgspec.Struct, frozen=True):
    """What was tuned: see :func:`tvmcomp.tuning.task.workload_hash`; ``name`` is for people."""

    hash: Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
    name: _Text
    arguments: tuple[Argument, ...]


class InstructionSet(msgspec.Struct, frozen=True):
    """The fields of a target's description that decide which code can run on it.

    Records are exchanged between targets only where all of them are equal.
    """

    family: _Text
    arch: _Text
    features: tuple[_Text, ...]
    dot_product: _Text
    vector_bits: int
    cuda_arch: _Text = ""

    @staticmethod
    def of(target: TargetDescription) -> InstructionSet:
        """The instruction set of ``target``."""
        return InstructionSet(
            target.family,
            architecture(target.triple),
            tuple(sorted(target.features)),
            target.dot_product,
            target.vector_bits,
            target.cuda_arch,
        )


class Target(msgspec.Struct, frozen=True):
    """The target that was compiled for: its name, its instruction set, its cores."""

    name: _Text
    instruction_set: InstructionSet
    cores: int

    @staticmethod
    def of(target: TargetDescription) -> Target:
        """The logged form of ``target``."""
        return Target(target.name, InstructionSet.of(target), target.cores)


class Versions(msgspec.Struct, frozen=True):
    """The versions of what made the code."""

    tvmcomp: _Text
    tvm: _Text
    llvm: _Text

    @staticmethod
    def here() -> Versions:
        """The versions installed here."""
        llvm = tvm.get_global_func("target.llvm_version_major")()
        return Versions(version("tvmcomp"), tvm.__version__, str(llvm))


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What every line holds.

    Attributes:
        schema: version of the format.
        workload, target, device, versions: what was tuned, for what, where, and with what.
        date: UTC, ISO 8601, to the second.
    """

    schema: int = SCHEMA
    workload: Workload
    target: Target
    device: Fingerprint
    versions: Versions
    date: _Text

    @property
    def key(self) -> tuple[str, InstructionSet]:
        """What look-ups go by."""
        return (self.workload.hash, self.target.instruction_set)


class Trial(Line, frozen=True, kw_only=True, tag_field="type", tag="trial"):
    """One candidate.

    Attributes:
        trace: the schedule, as MetaSchedule writes a trace: ``[instructions, decisions]``.
        run_secs: every measured time of one call, in seconds; empty where the trial failed.
        error: why it failed (``build error: …``, ``run crash: …``), or None.
        untuned: it is the schedule that a build without records uses.
    """

    trace: list[Any]
    run_secs: tuple[_Seconds, ...] = ()
    error: _Text | None = None
    untuned: bool = False

    @property
    def seconds(self) -> float:
        """The median of the measured times; infinite where the trial failed."""
        return median(self.run_secs) if self.run_secs else float("inf")


class Finished(Line, frozen=True, kw_only=True, tag_field="type", tag="finished"):
    """A search that ended.

    Attributes:
        trials: the number of trials that was asked for.
        exhausted: the design space holds no further candidate, whatever number is asked for.
    """

    trials: int
    exhausted: bool = False


#: What a build reads from a log: a trial with measured times.
Record = Trial

_decoder = msgspec.json.Decoder(Trial | Finished)


class _Schema(msgspec.Struct):
    schema: int


def encode(line: Trial | Finished) -> bytes:
    """``line`` as JSON, with its newline."""
    return msgspec.json.encode(line) + b"\n"


def decode(text: bytes) -> Trial | Finished:
    """Parse one line of a log.

    Raises:
        ValueError: it is too long, torn, of another schema, or does not hold what it should.
    """
    if len(text) > MAX_LINE_BYTES:
        raise ValueError(f"the line has {len(text)} bytes, more than {MAX_LINE_BYTES}")
    try:
        schema = msgspec.json.decode(text, type=_Schema).schema
        if schema != SCHEMA:
            raise ValueError(f"schema {schema} is not supported (this version reads {SCHEMA})")
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def now() -> str:
    """The time as lines hold it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
