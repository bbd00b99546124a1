"""Calibrate, guard, annotate: the float network and samples in, the fake-quantized network out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from tvmcomp.errors import ConfigError
from tvmcomp.model import Signature
from tvmcomp.progress import Progress
from tvmcomp.quantize.annotate import annotate
from tvmcomp.quantize.calibrate import calibrate
from tvmcomp.quantize.choice import PrecisionChoice
from tvmcomp.quantize.config import QuantConfig
from tvmcomp.quantize.data import Samples
from tvmcomp.quantize.guard import Guard
from tvmcomp.quantize.operator_report import report_operators
from tvmcomp.quantize.plan import plan_operators
from tvmcomp.quantize.probe import Probe
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import Module

#: Samples that the guard measures with: enough for a ratio of powers, few enough to be quick.
_MOST_SAMPLES = 16
_FEWEST_SAMPLES = 4
#: Multiply-accumulates of all the guard's runs together, from which a large network's number of
#: samples follows: about a minute on two cores.
_GUARD_MACS = 1.5e12


def quantize_network(
    mod: Module,
    signature: Signature,
    samples: Samples,
    config: QuantConfig,
    here: TargetDescription,
    progress: Progress,
) -> PrecisionChoice:
    """Quantize a float network (NHWC) to 8-bit integers.

    Args:
        mod: the network.
        signature: its inputs, in order.
        samples: calibration samples.
        config: settings.
        here: the machine that this runs on, where the network is observed.
        progress: is told of each stage.

    Raises:
        CalibrationError: the network gives NaN on the samples.
        ConfigError: a pattern of ``config`` matches no operator.
    """
    operators = plan_operators(mod, config)
    check_patterns(config, operators)
    progress.stage("preparing calibration")
    probe = Probe(mod, operators, here)
    ordered = [[sample[spec.name] for spec in signature.inputs] for sample in samples]
    step = progress.stage("calibrating", len(ordered))
    qparams = calibrate(probe, ordered, config, step)
    step = progress.stage("guarding accuracy", None)

    def quantized_without(keep: Collection[str]) -> set[str]:
        return {operator.name for operator in plan_operators(mod, config, keep) if operator.rounds}

    chosen = _spread(ordered, _guard_samples(mod, operators))
    guard = Guard(probe, qparams, chosen, quantized_without)
    result = guard.choose(config.min_sqnr_db, step)
    final = operators
    if result.keep_float:
        final = plan_operators(mod, config, result.keep_float, result.weight_only)
    on = {operator.name for operator in final if operator.rounds}
    notes = list(samples.warnings)
    if result.keep_float:
        notes.append(
            f"{len(result.keep_float)} of {len(guard.names)} operators stay float to keep the "
            f"outputs' SQNR at {config.min_sqnr_db:g} dB ({result.all_quantized_db:.1f} dB with "
            f"everything quantized, {result.sqnr_db:.1f} dB now): {', '.join(result.keep_float)}"
        )
    calibration = {
        "samples": len(ordered),
        "source": samples.source,
        "digest": samples.digest,
        "observer": config.observer,
        "min_sqnr_db": config.min_sqnr_db,
        "sqnr_db": _finite(result.sqnr_db),
        "all_quantized_sqnr_db": _finite(result.all_quantized_db),
        "kept_float": list(result.keep_float),
        "weight_only": list(result.weight_only),
    }
    own_db = {name: _finite(db) for name, db in guard.operator_sqnr(on, result.weight_only).items()}
    alone_db = {name: _finite(db) for name, db in result.alone_db.items()}
    return PrecisionChoice(
        annotate(mod, final, qparams),
        "int8",
        report_operators(mod, final, own_db, alone_db),
        without_guard=annotate(mod, operators, qparams) if result.keep_float else None,
        calibration=calibration,
        notes=notes,
    )


def check_patterns(config: QuantConfig, operators: Sequence[Any]) -> None:
    """Raise ConfigError where a pattern of ``config`` matches none of ``operators``."""
    unmatched = config.unmatched([(operator.name, operator.kind) for operator in operators])
    if unmatched:
        raise ConfigError(
            f"no operator of the network matches {', '.join(map(repr, unmatched))}",
            hint="`tvmcomp inspect MODEL` lists the names.",
        )


def _guard_samples(mod: Module, operators: Sequence[Any]) -> int:
    """How many samples the guard measures with: fewer for a network that takes long to run."""
    per_run = sum(operator.macs for operator in report_operators(mod, operators))
    runs = 2 * sum(operator.rounds for operator in operators) + 1
    return int(np.clip(_GUARD_MACS / max(1, per_run * runs), _FEWEST_SAMPLES, _MOST_SAMPLES))


def _spread(samples: list[list[np.ndarray]], count: int) -> list[list[np.ndarray]]:
    """``count`` samples, evenly spaced over all."""
    at = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)
    return [samples[i] for i in at]


#: JSON has no infinity; no difference at all reads as this ratio.
_NO_NOISE_DB = 200.0


def _finite(db: float) -> float:
    return float(np.clip(np.nan_to_num(db, nan=-_NO_NOISE_DB), -_NO_NOISE_DB, _NO_NOISE_DB))
