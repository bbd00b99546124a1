"""Trained recurrent networks: how far float is from ONNX Runtime, and what int8 and dynamic lose.

They come from ``benchmarks.kinds``, which trains them on real data the first time.
"""

from __future__ import annotations

import argparse

import numpy as np

import tvmcomp
from benchmarks.accuracy.cases import Arrays, Case, gathered, kind_case
from benchmarks.kinds import catalogue
from benchmarks.kinds.recurrent_data import SOURCES

#: What issue 11 asks for: relative to the output's range, and points.
_FLOAT_ERROR = 1e-5
_LOST = 0.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    parser.add_argument("names", nargs="*", default=list(SOURCES), metavar="NAME")
    parser.add_argument("--limit", type=int, help="judge by at most so many samples")


def run(args: argparse.Namespace) -> int:
    """Print a row for each network; 1 where one misses what is asked for."""
    missed = 0
    for name in args.names:
        case = kind_case(name, args.limit)
        reference = catalogue.run_float(case.model, case.inputs)
        points = {"float32": _points(case, reference, reference)}
        error = _error(_outputs(case, None), reference)
        for quant in ("int8", "dynamic"):
            points[quant] = _points(case, _outputs(case, quant), reference)
        lost = points["float32"] - min(points.values())
        missed += error > _FLOAT_ERROR or lost > _LOST
        texts = ", ".join(f"{key} {value:.2f}" for key, value in points.items())
        print(f"{name}: {texts}; float is {error:.1e} from ONNX Runtime", flush=True)
    return int(missed > 0)


def _outputs(case: Case, quant: str | None) -> Arrays:
    """Of a build in ``quant``, on the evaluation samples."""
    calibration = case.calibration if quant == "int8" else None
    artifact = tvmcomp.build(
        case.model,
        quant=quant,
        calibration=calibration,
        shapes=case.shapes,
        log="none",
        reference=False,
    )
    heavy = [operator for operator in artifact.metadata.operators if operator.macs]
    if quant is not None:
        count = sum(operator.dtype == "int8" for operator in heavy)
        print(f"  {case.name} {quant}: {count} of {len(heavy)} products in int8", flush=True)
    with tvmcomp.load(artifact, threads=1) as session:
        return gathered([session.run(sample) for sample in case.samples])


def _points(case: Case, outputs: Arrays, reference: Arrays) -> float:
    return next(iter(case.judge(outputs, reference).values()))


def _error(outputs: Arrays, reference: Arrays) -> float:
    """The largest difference, as a share of the output's range."""
    return max(
        float(np.abs(outputs[key] - array).max() / np.ptp(array))
        for key, array in reference.items()
    )
