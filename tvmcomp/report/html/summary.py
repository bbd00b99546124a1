"""What a person should know first, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.report import texts
from tvmcomp.report.compare import format_counts
from tvmcomp.report.html.document import KernelRow, OperatorRow
from tvmcomp.report.html.facts import calibration_of
from tvmcomp.report.measured import Measured, MeasuredPair
from tvmcomp.runtime.evaluate import Evaluation

#: Operators that a sentence names.
_NAMED = 3
_INTEGERS = ("int8", "uint8")


def network_sentence(artifact: Artifact, size: int) -> str:
    """What the artifact is."""
    metadata = artifact.metadata
    kind = "float" if metadata.quant == "none" else metadata.quant
    count = len(metadata.operators)
    return (
        f"A network of {count} operator{'s' * (count != 1)} in {kind} for {metadata.target.name}, "
        f"{texts.size(size)}. Operators with weights or products: {format_counts(artifact)}."
    )


def latency_sentence(
    measured: Measured, pair: MeasuredPair | None, before: str | None, again: bool
) -> str:
    """How long it takes, beside the artifact before.

    Args:
        measured: the artifact.
        pair: with the one before; None where there is none.
        before: its name.
        again: a search has measured it, too, and its figure is shown beside.
    """
    text = (
        f"{'Measured again for this report, one' if again else 'One'} inference takes "
        f"{texts.ms(measured.p50_ms)} (p50; p99 {texts.ms(measured.p99_ms)}) on "
        f"{measured.threads} threads of {measured.machine}"
    )
    if pair is None:
        return f"{text}."
    low, high = pair.interval
    ends = f"95% confidence {low:.2f} to {high:.2f}"
    return f"{text}: {pair.ratio:.2f} of the time of {before} ({ends})."


def accuracy_sentence(
    artifact: Artifact, evaluation: Evaluation | None, before: str | None
) -> str | None:
    """What was lost, as far as it was measured."""
    if evaluation is None:
        found = calibration_of(artifact.metadata)
        if found is None or found.sqnr_db is None:
            return None
        return (
            f"Accuracy was not measured for this report. On {found.judged_on} calibration samples "
            f"the outputs hold {_decibels(found.sqnr_db)} against float."
        )
    value = texts.score(evaluation.value, evaluation.unit)
    ends = f"95% confidence {evaluation.low:.2f} to {evaluation.high:.2f}"
    text = f"{evaluation.metric} is {value} ({ends}) on {evaluation.samples} samples"
    if evaluation.difference is None or before is None:
        return f"{text}."
    low, high = evaluation.difference_low or 0.0, evaluation.difference_high or 0.0
    lost = f"{-evaluation.difference + 0.0:.2f} points lost against {before}"
    if evaluation.difference > 0:
        lost = f"nothing lost, but {evaluation.difference:.2f} points gained against {before}"
    return (
        f"{text}: {lost} ({texts.score(evaluation.float_value, evaluation.unit)}); with 95% "
        f"confidence the change lies between {low:+.2f} and {high:+.2f}."
    )


def operator_sentences(rows: Sequence[OperatorRow], quant: str) -> Iterator[str]:
    """What costs most, what stays in float and why, what harms most."""
    timed = sorted((row for row in rows if row.ms is not None), key=lambda row: -(row.ms or 0.0))
    if timed:
        first = timed[0]
        share = 100 * (first.share or 0.0)
        ten = 100 * sum(row.share or 0.0 for row in timed[:10])
        yield (
            f"The operator that costs most is {first.name} ({first.kind}, {first.format}): "
            f"{texts.ms(first.ms)}, {share:.0f}% of the time of all kernels. The ten that cost "
            f"most take {ten:.0f}%."
        )
    if quant not in ("int8", "dynamic"):
        return
    products = [row for row in rows if row.macs]
    floats = [row for row in products if row.format not in _INTEGERS]
    if floats:
        floats.sort(key=lambda row: -row.macs)
        # The table of operators has the rest of a reason, which follows a colon.
        named = "; ".join(f"{row.name} ({row.why.partition(':')[0]})" for row in floats[:_NAMED])
        more = f"; and {len(floats) - _NAMED} more" if len(floats) > _NAMED else ""
        counts = f"{len(floats)} of {len(products)} operators with products"
        yield f"{counts} stay in float: {named}{more}."
    elif products:
        yield f"All {len(products)} operators with products run in integers."
    harmful = [row for row in rows if row.network_sqnr_db is not None or row.sqnr_db is not None]
    if harmful:
        worst = min(harmful, key=_harm)
        yield f"The operator whose rounding harms most is {worst.name}: {_decibels(_harm(worst))}."


def _harm(row: OperatorRow) -> float:
    """The network's outputs with it alone in integers, or its own result; lower is worse."""
    value = row.network_sqnr_db if row.network_sqnr_db is not None else row.sqnr_db
    return float("inf") if value is None else value


def _decibels(ratio: float) -> str:
    return f"{ratio:.1f} dB (noise of {100 * 10 ** (-ratio / 10):.2g}% of the energy)"


def tuning_sentences(rows: Sequence[OperatorRow], kernels: Sequence[KernelRow]) -> Iterator[str]:
    """Whether it was tuned, and where that could win most."""
    tuned = len({row.record.id for row in rows if row.record is not None})
    if tuned:
        yield f"{tuned} tuning records scheduled its kernels; the table of operators names them."
    else:
        yield "No tuning record was used: its kernels have the schedules of a build without tuning."
    bounded = [row for row in kernels if row.of_roof is not None and row.ms is not None]
    if bounded:
        most = max(bounded, key=lambda row: (row.ms or 0.0) * (1 - (row.of_roof or 0.0)))
        yield (
            f"Tuning could win most in the kernel {most.name}: it takes {texts.ms(most.ms)} at "
            f"{100 * (most.of_roof or 0.0):.0f}% of what its roofline allows."
        )
