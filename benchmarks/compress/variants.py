"""What is made of a network, and what it then is: points on held-out data, bytes of its weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

import tvmcomp
from benchmarks.accuracy.cases import Arrays, Case, gathered
from benchmarks.accuracy.peer_process import peer_run
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.quantize import QuantConfig
from tvmcomp.runtime.metrics import decibels

#: Runs that the latency is the median of.
_TIMED_RUNS = 50
#: Samples that `compress` itself judges on. The tables judge on all; nothing depends on either.
_JUDGED_BY_COMPRESS = 32


class Judged(msgspec.Struct, frozen=True):
    """A variant of a network.

    Attributes:
        points: by score, on held-out data.
        drop: points lost against the float network, of the score that loses most.
        constants_bytes: weights with their scales and biases, in the file.
        milliseconds: median latency on one thread.
        seconds: that making it took.
        sqnr_db: of the outputs against the float network's, the worst.
        kept_float: operators with weights that are not in integers.
        error: why there is none; the others mean nothing then.
    """

    points: dict[str, float] = {}
    drop: float = 0.0
    constants_bytes: int = 0
    milliseconds: float = 0.0
    seconds: float = 0.0
    sqnr_db: float = 0.0
    kept_float: int = 0
    error: str | None = None


#: Judges a variant of a network, given what the float one gives for its inputs in ONNX Runtime.
Variant = Callable[[Case, Arrays], Judged]


def in_float() -> Variant:
    """The network as it is."""
    return _built(lambda case: _build(case, case.model))


def int8(*, guard: bool = True, nearest: bool = False) -> Variant:
    """Post-training int8 of `build`."""
    config = QuantConfig(round="nearest" if nearest else "best")
    if not guard:
        config = msgspec.structs.replace(config, min_sqnr_db=None)
    return _built(
        lambda case: _build(
            case, case.model, quant="int8", calibration=case.calibration, config=config
        )
    )


def compressed(seed: int, budget: str = "20m", **options: Any) -> Variant:
    """`compress` with ``options``, then `build`."""

    def make(case: Case) -> Artifact:
        first = {key: array[:_JUDGED_BY_COMPRESS] for key, array in case.inputs.items()}
        result = tvmcomp.compress(
            case.model,
            data=case.calibration,
            eval=first,
            shapes=case.shapes,
            budget=budget,
            seed=seed,
            measure=False,
            **{"max_drop": 100, **options},
        )
        return _build(case, result.model).small()

    return _built(make)


def peer(name: str) -> Variant:
    """Another quantizer's int8; of its operators nothing is known."""

    def judged(case: Case, reference: Arrays) -> Judged:
        begin = time.perf_counter()
        made = peer_run(name, case)
        return _points(
            case, made.outputs, reference,
            constants_bytes=made.size,
            milliseconds=made.milliseconds,
            seconds=time.perf_counter() - begin,
        )  # fmt: skip

    return judged


def _built(make: Callable[[Case], Artifact]) -> Variant:
    def judged(case: Case, reference: Arrays) -> Judged:
        begin = time.perf_counter()
        artifact = make(case)
        seconds = time.perf_counter() - begin
        with tvmcomp.load(artifact, threads=1) as session:
            outputs = gathered([session.run(sample) for sample in case.samples])
            milliseconds = 1e3 * float(np.median(session.time(_TIMED_RUNS)))
        weighty = [operator for operator in artifact.metadata.operators if operator.macs]
        return _points(
            case, outputs, reference,
            constants_bytes=artifact.constants_nbytes_in_file,
            milliseconds=milliseconds,
            seconds=seconds,
            kept_float=sum(operator.dtype != "int8" for operator in weighty),
        )  # fmt: skip

    return judged


def _points(case: Case, outputs: Arrays, reference: Arrays, **facts: Any) -> Judged:
    points, before = case.judge(outputs, reference), case.judge(reference, reference)
    drop = max(before[key] - points[key] for key in before)
    return Judged(points, drop, sqnr_db=_sqnr_db(outputs, reference), **facts)


def _sqnr_db(outputs: Arrays, reference: Arrays) -> float:
    found = [
        decibels(float(np.square(outputs[key] - array).sum()), float(np.square(array).sum()))
        for key, array in reference.items()
        if array.dtype.kind == "f"
    ]
    return min(found, default=float("inf"))


def _build(case: Case, model: Any, **options: Any) -> Artifact:
    return tvmcomp.build(model, shapes=case.shapes, reference=False, log="none", **options)
