"""Put a report together: of an artifact, of two, or of a search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import msgspec

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.report import texts
from tvmcomp.report.compare import Change
from tvmcomp.report.html.chosen import as_chosen
from tvmcomp.report.html.document import Command, Latencies, Report
from tvmcomp.report.html.facts import build_command, device_facts, sample_facts
from tvmcomp.report.html.front import SearchFile
from tvmcomp.report.html.operators import kernel_rows, operator_rows, roofs
from tvmcomp.report.html.summary import (
    accuracy_sentence,
    latency_sentence,
    network_sentence,
    operator_sentences,
    tuning_sentences,
)
from tvmcomp.report.measured import Measured, MeasuredPair
from tvmcomp.report.remarks import remarks
from tvmcomp.runtime.evaluate import Evaluation
from tvmcomp.tuning.peaks import Peaks

#: Runs that the page draws: more show no other picture.
_MOST_LATENCIES = 2000


class Subject(msgspec.Struct, frozen=True):
    """An artifact, and what a person calls it.

    Attributes:
        name: of its file, or "the float network".
        artifact: itself.
        path: its file.
    """

    name: str
    artifact: Artifact
    path: Path

    @property
    def nbytes(self) -> int:
        """Of the file."""
        return self.path.stat().st_size


class Evidence(msgspec.Struct, frozen=True):
    """What was measured for a report; None is nothing.

    Attributes:
        measured: of the artifact, where it is alone.
        pair: of two, in turns.
        evaluation: of the artifact, beside the one before.
        data: where the evaluation's samples come from.
        changes: figure by figure.
        here: whether all this was on this machine.
    """

    measured: Measured | None = None
    pair: MeasuredPair | None = None
    evaluation: Evaluation | None = None
    data: str = ""
    changes: tuple[Change, ...] = ()
    here: bool = True

    @property
    def after(self) -> Measured | None:
        """What was measured of the artifact."""
        return self.pair.after if self.pair else self.measured


def report_of(
    after: Subject | None,
    before: Subject | None = None,
    evidence: Evidence | None = None,
    search: SearchFile | None = None,
    commands: Sequence[Command] = (),
) -> Report:
    """The report of an artifact, beside another one, of a search, or of both.

    Args:
        after: the artifact; None where a search has chosen none.
        before: the other one.
        evidence: what was measured.
        search: a search.
        commands: what made the report.
    """
    evidence = evidence or Evidence()
    again = search.commands() if search else []
    base = Report(
        title=f"Search: {Path(search.model).name} for {search.target}" if search else "",
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        tvmcomp=version("tvmcomp"),
        summary=tuple(search.sentences()) if search else (),
        front=search.front() if search else None,
        samples=tuple(search.sample_facts()) if search else (),
        device=tuple(search.facts()) if search else (),
        notes=search.notes if search else (),
        commands=(*again, *commands),
    )
    if after is None:
        return base
    metadata = after.artifact.metadata
    calls = evidence.after.calls_ms if evidence.after else {}
    was = None if before is None else _formats(before.artifact)
    rows = operator_rows(metadata, calls, was)
    chosen = search.chosen if search else None
    if search and chosen:
        rows = as_chosen(rows, chosen.recipe, search.table)
    changes = evidence.changes
    if search and evidence.evaluation is None:
        changes = (*changes, *search.accuracy())
    peaks = Peaks(metadata.target, evidence.after.threads if evidence.after else None)
    kernels = kernel_rows(metadata, calls, peaks)
    if not search:  # which has the commands of what it made
        built = [each for each in (before, after) if each]
        again += [build_command(each.name, each.artifact.metadata) for each in built]
    return msgspec.structs.replace(
        base,
        title=base.title
        or f"{after.name}: {Path(metadata.source).name} for {metadata.target.name}",
        summary=(
            *base.summary,
            *_sentences(after, before, evidence, search is not None),
            *operator_sentences(rows, metadata.quant),
            *tuning_sentences(rows, kernels),
        ),
        before=before.name if before else None,
        after=after.name,
        changes=changes,
        measuring=tuple(_measuring(evidence)),
        inputs=tuple(each.name for each in metadata.signature.inputs),
        operators=rows,
        kernels=kernels,
        roofs=roofs(kernels, peaks),
        roofs_from=_roofs_from(peaks, evidence),
        latencies=tuple(_latencies(after, before, evidence)),
        samples=(
            *base.samples,
            # A search tells of its own samples; what it chose holds the ranges that it fitted.
            *(
                ()
                if search and evidence.evaluation is None
                else sample_facts(metadata, evidence.evaluation, evidence.data)
            ),
        ),
        device=(*base.device, *device_facts(after.artifact, evidence.after, evidence.here)),
        notes=(
            *base.notes,
            *remarks({each.name: each.artifact for each in (before, after) if each}),
            *metadata.notes,
        ),
        commands=(*again, *commands),
    )


def _sentences(
    after: Subject, before: Subject | None, evidence: Evidence, again: bool
) -> Iterator[str]:
    yield network_sentence(after.artifact, after.nbytes)
    name = before.name if before else None
    if before is not None:
        text = texts.ratio(before.nbytes, after.nbytes)
        sizes = f"{texts.size(after.nbytes)}, that of {name} {texts.size(before.nbytes)}"
        yield f"Its file is {sizes}: {text}."
    if evidence.after is not None:
        yield latency_sentence(evidence.after, evidence.pair, name, again)
    accuracy = accuracy_sentence(after.artifact, evidence.evaluation, name)
    if accuracy:
        yield accuracy


def _formats(artifact: Artifact) -> dict[str, str]:
    return {each.name: each.dtype for each in artifact.metadata.operators}


def _measuring(evidence: Evidence) -> Iterator[str]:
    if evidence.pair is not None:
        yield (
            "Latencies were taken in turns, so that what else the machine did slowed both; memory "
            "is the peak of a process that does nothing but run the network, Python included. A "
            "verdict is given where a change is beyond its 95% confidence, or for sizes where they "
            "differ at all."
        )


def _roofs_from(peaks: Peaks, evidence: Evidence) -> str:
    after = evidence.after
    if after is None:
        return ""
    return (
        f"The lines are an estimate for {after.threads} cores at {peaks.clock / 1e9:.1f} GHz "
        "(raised to the fastest kernel measured) and their caches."
    )


def _latencies(after: Subject, before: Subject | None, evidence: Evidence) -> Iterator[Latencies]:
    pairs: list[tuple[Subject, Measured]] = []
    if evidence.pair is not None and before is not None:
        pairs = [(before, evidence.pair.before), (after, evidence.pair.after)]
    elif evidence.measured is not None:
        pairs = [(after, evidence.measured)]
    for subject, measured in pairs:
        times = measured.latencies_ms
        step = -(-len(times) // _MOST_LATENCIES)
        yield Latencies(
            name=subject.name,
            machine=measured.machine,
            threads=measured.threads,
            runs=len(times),
            p50_ms=measured.p50_ms,
            p99_ms=measured.p99_ms,
            min_ms=measured.min_ms,
            ms=times[:: max(1, step)],
        )


def alone_changes(subject: Subject, evidence: Evidence) -> Iterator[Change]:
    """The figures of one artifact, where there is none before."""

    def figure(title: str, value: float | None, text: str) -> Change:
        return Change(title, None, value, texts.NONE, text)

    artifact, measured = subject.artifact, evidence.measured
    yield figure("artifact file", subject.nbytes, texts.size(subject.nbytes))
    weights = artifact.constants_nbytes_in_file
    yield figure("weights in it", weights, texts.size(weights))
    yield figure("machine code in it", len(artifact.library), texts.size(len(artifact.library)))
    if measured is not None:
        yield figure("p50 latency", measured.p50_ms, texts.ms(measured.p50_ms))
        yield figure("p99 latency", measured.p99_ms, texts.ms(measured.p99_ms))
        yield figure("time to load", measured.load_ms, texts.ms(measured.load_ms))
        yield figure("peak memory", measured.peak_memory_mib, texts.mib(measured.peak_memory_mib))
    found = evidence.evaluation
    if found is not None:
        text = f"{texts.score(found.value, found.unit)} ({found.low:.2f} to {found.high:.2f})"
        yield figure(f"{found.metric} on {found.samples} samples", found.value, text)
