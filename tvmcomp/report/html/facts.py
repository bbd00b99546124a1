"""The plain facts of a report: how samples were used, where it was made and measured, commands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import msgspec

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.metadata import Metadata
from tvmcomp.report.html.document import Command, Fact
from tvmcomp.report.measured import Measured
from tvmcomp.runtime.evaluate import Evaluation
from tvmcomp.targets.fingerprint import local_fingerprint


class Calibration(msgspec.Struct, frozen=True):
    """What a report reads of ``Metadata.calibration``."""

    samples: int
    source: str = ""
    digest: str = ""
    judged_on: int = 0
    held_out: int = 0
    rounding: str = "the nearest integers"
    equalized: bool = False
    observer: str = "unknown means"
    min_sqnr_db: float | None = None
    sqnr_db: float | None = None
    all_quantized_sqnr_db: float | None = None
    kept_float: tuple[str, ...] = ()


def calibration_of(metadata: Metadata) -> Calibration | None:
    """How samples were used by the build; None where they were not, or where it can't be read."""
    try:
        return msgspec.convert(metadata.calibration, Calibration)
    except msgspec.ValidationError:
        return None


def sample_facts(metadata: Metadata, evaluation: Evaluation | None, data: str) -> Iterator[Fact]:
    """How samples were used.

    Args:
        metadata: the artifact's.
        evaluation: of labelled samples, or None.
        data: where those come from.
    """
    found = calibration_of(metadata)
    if found is not None:
        source = f" from {found.source}" if found.source else ""
        digest = f" (SHA-256 {found.digest[:16]}…)" if found.digest else ""
        yield Fact("Calibration", f"{found.samples} samples{source}{digest}")
        fitted = found.samples - found.held_out
        yield Fact("Fitted on", f"{fitted} of them: ranges of tensors and roundings of weights")
        yield Fact("Judged on", _judged(found))
        scaled = ", channels scaled against each other before" if found.equalized else ""
        yield Fact("Method", f"ranges by {found.observer}, weights by {found.rounding}{scaled}")
        if found.sqnr_db is not None:
            yield Fact("Outputs against float", _outputs(found))
        yield Fact("Kept in float to that end", ", ".join(found.kept_float) or "none")
    else:
        yield Fact("Calibration", _no_calibration(metadata))
    if evaluation is None:
        text = "not measured for this report; --eval LABELLED.npz --metric top1 does"
    else:
        text = (
            f"{evaluation.metric} of output {evaluation.output} on {evaluation.samples} samples "
            f"of {data}"
        )
    yield Fact("Accuracy", text)


def _judged(found: Calibration) -> str:
    if not found.held_out:
        return f"{found.judged_on} of those that were fitted on: too few to hold some out"
    return (
        f"{found.judged_on} of the {found.held_out} that were held out: nothing was fitted on them"
    )


def _outputs(found: Calibration) -> str:
    text = f"{found.sqnr_db:.1f} dB signal to quantization noise"
    if found.min_sqnr_db is not None:
        text += f"; at least {found.min_sqnr_db:g} dB were asked for"
    if found.kept_float and found.all_quantized_sqnr_db is not None:
        text += f"; {found.all_quantized_sqnr_db:.1f} dB with everything in integers"
    return text


def _no_calibration(metadata: Metadata) -> str:
    if metadata.quant == "int8":
        return "none: the model came quantized, with its own scales"
    if metadata.quant == "dynamic":
        return "none: data is scaled when the network runs"
    return "none: nothing was rounded to integers"


def device_facts(artifact: Artifact, measured: Measured | None, here: bool) -> Iterator[Fact]:
    """What the artifact was built for, what measured it, and versions.

    Args:
        artifact: the one that the report is of.
        measured: what was measured of it.
        here: whether that was on this machine.
    """
    metadata = artifact.metadata
    target = metadata.target
    yield Fact("Built for", f"{target.name}: {target.description}")
    yield Fact(
        "Instructions", f"{target.triple}, {target.cpu or 'any CPU'}; {_features(target.features)}"
    )
    yield Fact("8-bit products by", target.dot_product)
    if measured is None:
        yield Fact("Measured on", "nothing was measured for this report")
    else:
        yield Fact("Measured on", f"{measured.machine}, {measured.threads} threads")
    if measured is not None and here:
        machine = local_fingerprint()
        yield Fact(
            "That machine",
            f"{machine.cpu}, {machine.cores} cores, frequency governor "
            f"{machine.governor or 'unknown'}, kernel {machine.kernel}",
        )
    if measured is not None and measured.agrees is not None:
        yield Fact(
            "Reference outputs",
            "repeated within the tolerance" if measured.agrees else "NOT repeated: outputs differ",
        )
    yield Fact("Made with", f"tvmcomp {metadata.tvmcomp}, TVM {metadata.tvm}, {metadata.created}")
    yield Fact("Model", f"{metadata.source} (SHA-256 {metadata.source_digest})")
    for kind, specs in (
        ("Inputs", metadata.signature.inputs),
        ("Outputs", metadata.signature.outputs),
    ):
        yield Fact(kind, ", ".join(f"{each.name} {each.dtype}{list(each.shape)}" for each in specs))


def _features(features: tuple[str, ...]) -> str:
    return ", ".join(features) if features else "no more features"


def build_command(name: str, metadata: Metadata) -> Command:
    """How an artifact was built."""
    if metadata.command:
        return Command(f"{name} was built by", shlex.join(metadata.command))
    line = ["tvmcomp", "build", metadata.source, "-o", name, "--target", metadata.target.name]
    line += [] if metadata.quant == "none" else ["--quant", metadata.quant]
    calibration = calibration_of(metadata)
    line += ["--calibration", calibration.source] if calibration and calibration.source else []
    return Command(f"{name} was built from Python; about the same is", shlex.join(line))
