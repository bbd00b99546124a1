"""What a page shows, as values: made of artifacts, measurements and a search, drawn by the template
and by the scripts, which get it as JSON."""

from __future__ import annotations

import msgspec

from tvmcomp.model import UsedRecord
from tvmcomp.report.compare import Change


class Fact(msgspec.Struct, frozen=True):
    """Something to know, and its name."""

    name: str
    value: str


class Command(msgspec.Struct, frozen=True):
    """A command line, and what it does."""

    purpose: str
    line: str


class OperatorRow(msgspec.Struct, frozen=True):
    """An operator; dB and formats as in :class:`tvmcomp.model.Operator`.

    Attributes:
        why: why it computes in its format.
        was: its format in the artifact before; None where there is none.
        ms, share: of the kernel call that computes it; None where not measured, or ``within``.
        within: index of the operator whose kernel computes it too, and has the time of both.
        kernel: the name of that kernel.
        inputs: indices of the operators that it reads; -1 - i is the network's input i.
    """

    name: str
    kind: str
    format: str
    why: str
    was: str | None
    ms: float | None
    share: float | None
    within: int | None
    kernel: str | None
    macs: int
    sqnr_db: float | None
    network_sqnr_db: float | None
    record: UsedRecord | None
    inputs: tuple[int, ...]


class KernelRow(msgspec.Struct, frozen=True):
    """A kernel.

    Attributes:
        format: of the tensor that it reads first.
        macs, bytes: multiply-accumulates, and size of what it reads and writes, in one call.
        ms, share: of all its calls in one inference; None where not measured.
        rate: billion multiply-accumulates a second; None where it has none.
        intensity: multiply-accumulates for each byte.
        of_roof: its rate as a share of what the roofline allows.
    """

    name: str
    format: str
    calls: int
    macs: int
    bytes: int
    ms: float | None
    share: float | None
    rate: float | None
    intensity: float | None
    of_roof: float | None


class Roof(msgspec.Struct, frozen=True):
    """What a device can do with data of a format: billions of multiply-accumulates a second, and of
    bytes a second from its caches."""

    format: str
    rate: float
    bandwidth: float


class Latencies(msgspec.Struct, frozen=True):
    """Times of the runs of one artifact, in ms."""

    name: str
    machine: str
    threads: int
    runs: int
    p50_ms: float
    p99_ms: float
    min_ms: float
    ms: tuple[float, ...]


class Candidate(msgspec.Struct, frozen=True):
    """A network that a search built; figures are None where they were not measured.

    Attributes:
        name: unique in the search.
        label: what was done, in a few words.
        technique: in a word, for its colour.
        score, score_low, score_high: of the search's metric, with its 95% confidence.
        drop: points lost against the original.
        decisions: pairs of a name and a text, for the details.
        artifact: the path of its file in the search's folder.
    """

    name: str
    label: str = ""
    technique: str = ""
    predicted_ms: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    artifact_bytes: int | None = None
    peak_memory_bytes: int | None = None
    score: float | None = None
    score_low: float | None = None
    score_high: float | None = None
    drop: float | None = None
    drop_low: float | None = None
    drop_high: float | None = None
    on_front: bool = False
    artifact: str | None = None
    decisions: tuple[tuple[str, str], ...] = ()
    note: str = ""


class Goals(msgspec.Struct, frozen=True):
    """What was asked for; None is no goal."""

    max_drop: float | None = None
    max_latency_ms: float | None = None
    max_size_bytes: float | None = None
    max_memory_bytes: float | None = None


class Front(msgspec.Struct, frozen=True):
    """A search: what it found, and what it was to find."""

    metric: str
    unit: str
    goals: Goals
    original: Candidate | None
    candidates: tuple[Candidate, ...]
    chosen: str | None
    techniques: tuple[str, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole page.

    Attributes:
        title: its head.
        made: when, UTC.
        tvmcomp: the version that made it.
        summary: sentences, the most important first.
        before, after: what the artifacts are called; ``before`` is None where there is one.
        changes: figure by figure.
        measuring: how they were measured.
        inputs: names of the network's inputs.
        operators: of the artifact after, in the order that they run.
        kernels: its kernels, the slowest first.
        roofs: of the device.
        roofs_from: where they come from, in a sentence.
        latencies: of the artifacts that were measured.
        front: of a search, or None.
        samples: how samples were used.
        device: what it was built for, what measured it, and versions.
        notes: what the build said.
        commands: that make it all again.
    """

    title: str
    made: str
    tvmcomp: str
    summary: tuple[str, ...]
    before: str | None = None
    after: str = ""
    changes: tuple[Change, ...] = ()
    measuring: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    operators: tuple[OperatorRow, ...] = ()
    kernels: tuple[KernelRow, ...] = ()
    roofs: tuple[Roof, ...] = ()
    roofs_from: str = ""
    latencies: tuple[Latencies, ...] = ()
    front: Front | None = None
    samples: tuple[Fact, ...] = ()
    device: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()
    commands: tuple[Command, ...] = ()
