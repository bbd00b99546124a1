"""One artifact against another: what became better, what worse, and what can't be told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Literal

import msgspec

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.intervals import Interval
from tvmcomp.report import texts
from tvmcomp.report.measured import MeasuredPair
from tvmcomp.runtime.evaluate import Evaluation

Verdict = Literal["better", "worse", "same", ""]
#: What ``--require`` can name: what must not become worse.
Requirement = Literal["latency", "size", "memory", "accuracy"]

#: Changes of latency below it are what a quiet machine's noise comes to, and more.
_LATENCY_NOISE = 0.01
#: Peak memory of two runs of one artifact differs by less.
_MEMORY_NOISE = 0.02


class Change(msgspec.Struct, frozen=True):
    """One figure before and after.

    Attributes:
        title: what it is.
        before, after: None where it is not known.
        before_text, after_text: as a person reads them.
        change: in words.
        verdict: beyond noise; empty where none can be given.
        requirement: which requirement it decides, or None.
    """

    title: str
    before: float | None
    after: float | None
    before_text: str
    after_text: str
    change: str = ""
    verdict: Verdict = ""
    requirement: Requirement | None = None


class FormatChange(msgspec.Struct, frozen=True):
    """An operator that computes in another number format; one is None where it is missing there."""

    operator: str
    kind: str
    before: str | None
    after: str | None
    why: str | None


class Comparison(msgspec.Struct, frozen=True):
    """What ``tvmcomp compare`` prints.

    Attributes:
        before, after: the files.
        changes: figure by figure.
        formats: operators whose number format differs.
        notes: what a person should know.
    """

    before: str
    after: str
    changes: tuple[Change, ...]
    formats: tuple[FormatChange, ...]
    notes: tuple[str, ...] = ()

    def worse_in(self, required: Collection[str]) -> list[str]:
        """The requirements among ``required`` that the second is worse in."""
        worse = {change.requirement for change in self.changes if change.verdict == "worse"}
        return [name for name in required if name in worse]


def size_changes(before: tuple[Artifact, int], after: tuple[Artifact, int]) -> Iterator[Change]:
    """Of artifacts and the bytes of their files."""
    pairs = (
        ("artifact file", before[1], after[1]),
        ("weights in it", before[0].constants_nbytes_in_file, after[0].constants_nbytes_in_file),
        ("machine code in it", len(before[0].library), len(after[0].library)),
    )
    for title, was, became in pairs:
        verdict: Verdict = _less_is_better(was, became, 0.0)
        required: Requirement | None = "size" if title == "artifact file" else None
        yield Change(
            title, was, became, texts.size(was), texts.size(became), texts.ratio(was, became),
            verdict, required,
        )  # fmt: skip


def measured_changes(pair: MeasuredPair) -> Iterator[Change]:
    """Of latency, load time and memory."""
    before, after = pair.before, pair.after
    low, high = pair.interval
    verdict: Verdict = "same"
    if low > 1 + _LATENCY_NOISE:
        verdict = "worse"
    elif high < 1 - _LATENCY_NOISE:
        verdict = "better"
    yield Change(
        "p50 latency",
        before.p50_ms,
        after.p50_ms,
        texts.ms(before.p50_ms),
        texts.ms(after.p50_ms),
        f"{pair.ratio:.3f} of the time in turns, 95% confidence {low:.3f} to {high:.3f}",
        verdict,
        "latency",
    )
    for title, was, became in (
        ("p99 latency", before.p99_ms, after.p99_ms),
        ("time to load", before.load_ms, after.load_ms),
    ):
        yield Change(title, was, became, texts.ms(was), texts.ms(became), texts.ratio(was, became))
    was, became = before.peak_memory_mib, after.peak_memory_mib
    yield Change(
        "peak memory",
        was,
        became,
        texts.mib(was),
        texts.mib(became),
        texts.ratio(was, became),
        _less_is_better(was, became, _MEMORY_NOISE),
        "memory",
    )


def accuracy_change(found: Evaluation) -> Change:
    """Of the second artifact's evaluation beside the first, against labels."""
    assert found.float_value is not None and found.difference is not None
    return score_change(
        f"{found.metric} on {found.samples} samples",
        (found.float_value, found.value),
        found.unit,
        found.difference,
        (found.difference_low or 0.0, found.difference_high or 0.0),
        (found.low, found.high),
    )


def score_change(
    title: str,
    scores: tuple[float, float],
    unit: str,
    difference: float,
    ends: Interval,
    after_ends: Interval,
) -> Change:
    """Of a score whose difference was measured sample by sample.

    Args:
        title: what was scored.
        scores: before and after.
        unit: of both.
        difference: what was gained.
        ends: of its 95% confidence interval.
        after_ends: of that of the score after.
    """
    before, after = scores
    return Change(
        title,
        before,
        after,
        texts.score(before, unit),
        texts.score(after, unit),
        f"{texts.score_difference(difference, unit)}, 95% confidence {ends[0]:+.2f} to "
        f"{ends[1]:+.2f}; after: {after_ends[0]:.2f} to {after_ends[1]:.2f}",
        more_is_better(ends),
        "accuracy",
    )


def likeness_change(before: Evaluation, after: Evaluation, original: str, decides: bool) -> Change:
    """Of how close each comes to the original.

    Args:
        before, after: of one metric against the original.
        original: what to call it.
        decides: whether this is what accuracy is judged by.
    """
    apart: Verdict = "same"
    if after.high < before.low:
        apart = "worse"
    elif after.low > before.high:
        apart = "better"
    return Change(
        f"{after.metric} with {original} on {after.samples} samples",
        before.value,
        after.value,
        texts.score(before.value, before.unit),
        texts.score(after.value, after.unit),
        texts.score_difference(after.value - before.value, after.unit),
        apart,
        "accuracy" if decides else None,
    )


def format_changes(before: Artifact, after: Artifact) -> list[FormatChange]:
    """The operators whose number formats differ, by name; those that only one has."""
    was = {each.name: each for each in before.metadata.operators}
    became = {each.name: each for each in after.metadata.operators}
    found = []
    for name in [*became, *(name for name in was if name not in became)]:
        first, second = was.get(name), became.get(name)
        first_format = first.dtype if first else None
        second_format = second.dtype if second else None
        if first_format != second_format:
            either = second or first
            assert either is not None
            found.append(
                FormatChange(name, either.kind, first_format, second_format, either.reason)
            )
    return found


def format_counts(artifact: Artifact) -> str:
    """``24 int8, 1 float32``: of the operators with weights or products."""
    counts = Counter(each.dtype for each in artifact.metadata.operators if each.macs)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"


def formats_change(before: Artifact, after: Artifact) -> Change:
    """How many operators compute in what."""
    return Change(
        "operators with products, by format", None, None, format_counts(before),
        format_counts(after),
    )  # fmt: skip


def _less_is_better(was: float | None, became: float | None, noise: float) -> Verdict:
    if not was or became is None:
        return ""
    if became > was * (1 + noise):
        return "worse"
    return "better" if became < was * (1 - noise) else "same"


def more_is_better(difference: Interval) -> Verdict:
    """The verdict on a difference of a figure of which more is better, by its interval."""
    if difference[1] < 0:
        return "worse"
    return "better" if difference[0] > 0 else "same"
