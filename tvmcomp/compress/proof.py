"""The proof of a run: the network before and after, and what each step cost and gained."""

from __future__ import annotations

from typing import Any

import msgspec

from tvmcomp.compress.score import Score


class Built(msgspec.Struct, frozen=True):
    """A network as it is built for the target.

    Attributes:
        artifact_bytes: of the .tvmc file; None where it could not be built.
        constants_bytes: of what the weights, with their scales and biases, take in it.
        p50_ms, p99_ms: latency of an inference; None where it was not measured.
        peak_memory_mib: largest resident memory of the process that ran it; None: unknown.
        score: of the metric, on the same samples, as the artifact computes it.
        problem: why something of this is missing.
    """

    artifact_bytes: int | None = None
    constants_bytes: int | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    peak_memory_mib: float | None = None
    score: float | None = None
    problem: str | None = None


class Side(msgspec.Struct, frozen=True):
    """The network before, or after.

    Attributes:
        onnx_bytes: of its ONNX file, weights included.
        parameters: number of weights.
        macs: multiply-accumulates of one inference.
        builds: ``float`` and ``int8`` -> what it is on the target. A network that is quantized is
            ``int8`` and has no other; empty where nothing was to be measured.
    """

    onnx_bytes: int
    parameters: int
    macs: int
    builds: dict[str, Built] = {}


class StepProof(msgspec.Struct, frozen=True):
    """What one technique cost and gained.

    Attributes:
        technique: its name.
        options: all of them.
        seconds: that it took.
        bytes_before, bytes_after: of the ONNX file that the network would be.
        drop_before, drop_after: what is lost on the watched samples against the original, in
            points of ``metric``; the metric needs no labels.
        sqnr_db_before, sqnr_db_after: ratio of signal to noise at the outputs there, which tells
            networks apart that lose nothing.
        notes: what the technique says.
    """

    technique: str
    options: dict[str, Any]
    seconds: float
    bytes_before: int
    bytes_after: int
    metric: str
    drop_before: float
    drop_after: float
    sqnr_db_before: float
    sqnr_db_after: float
    notes: tuple[str, ...] = ()


class Proof(msgspec.Struct, frozen=True):
    """All of it.

    Attributes:
        model: the original's file.
        output: what was written; None where nothing was.
        accepted: whether the network is no worse than ``max_drop`` allows.
        max_drop: points that the score may lose.
        score: on samples that no choice depended on.
        before, after: the original and the network.
        steps: the techniques in their order.
        samples: how many were fitted on, watched and judged on.
        judged_on: where the last ones come from.
        seed: of everything that was drawn.
        target: what was built for.
        resumed: whether it went on from a run that was stopped.
        notes: what else a person should know.
    """

    model: str
    output: str | None
    accepted: bool
    max_drop: float
    score: Score
    before: Side
    after: Side
    steps: tuple[StepProof, ...]
    samples: dict[str, int]
    judged_on: str
    seed: int
    target: str
    resumed: bool
    notes: tuple[str, ...] = ()
