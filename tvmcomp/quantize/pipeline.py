"""Calibrate, guard, annotate: the float network and samples in, the fake-quantized network out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tvmcomp.errors import ConfigError
from tvmcomp.model import Signature
from tvmcomp.progress import Progress
from tvmcomp.qparams import QParams
from tvmcomp.quantize.best_rounding import NEAREST, Rounding, best_rounding
from tvmcomp.quantize.calibrate import calibrate
from tvmcomp.quantize.choice import PrecisionChoice
from tvmcomp.quantize.config import QuantConfig
from tvmcomp.quantize.data import Samples
from tvmcomp.quantize.effort import effort_for, elements, run_cost, spread
from tvmcomp.quantize.equalize import find_scales, scale_channels
from tvmcomp.quantize.guard import Guard
from tvmcomp.quantize.held_out import FEWEST_SAMPLES, hold_out
from tvmcomp.quantize.judged_outputs import with_judged_outputs
from tvmcomp.quantize.outcome import Outcome, finite
from tvmcomp.quantize.output_noise import OutputNoise
from tvmcomp.quantize.plan import plan_operators, planner
from tvmcomp.quantize.planned_operator import PlannedOperator
from tvmcomp.quantize.probe import Probe
from tvmcomp.quantize.shared_scales import share_scales
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import Module

#: How much better the outputs' ratio must become of scaled channels.
_WORTH_DB = 0.5


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
    ordered = [[sample[spec.name] for spec in signature.inputs] for sample in samples]
    fitted, held_out = hold_out(ordered)
    operators = plan_operators(mod, config)
    check_patterns(config, operators)
    harmful = sum(operator.rounds for operator in operators)
    counted = elements({tensor for operator in operators for tensor in operator.reads})
    effort = effort_for(run_cost(mod), counted, len(held_out), len(fitted), harmful)
    judging, watched = spread(held_out, effort.judging), spread(fitted, effort.calibrating)
    fit = partial(
        _fit, fitted=watched, judging=judging, config=config, here=here, progress=progress
    )
    network = fit(mod)
    rounding, scales = Rounding(NEAREST, {}, {}), None
    if config.round == "best":
        few = spread(fitted, effort.scaling)
        step = progress.stage("comparing channels", len(few))
        scales = find_scales(mod, network.probe, network.qparams, few, step)
        if scales is not None:
            # By the nearest integers: what better ones gain comes on top of either.
            other = fit(scale_channels(mod, scales), like=network.probe)
            if other.nearest_db() > network.nearest_db() + _WORTH_DB:
                network = other
            else:
                scales = None
        read = spread(fitted, effort.rounding)
        rounding = best_rounding(
            network.probe, network.qparams, read, network.noise, network.names, progress
        )
    mod, operators, probe, qparams = network.mod, network.operators, network.probe, network.qparams
    progress.stage("guarding accuracy")

    planned = planner(mod, config)

    def quantized_without(keep: Collection[str]) -> set[str]:
        return {operator.name for operator in planned(keep) if operator.rounds}

    ranking = spread(fitted, effort.ranking)
    guard = Guard(
        probe,
        qparams,
        network.noise,
        ranking,
        quantized_without,
        effort.rankings,
        effort.looks,
        effort.retrials,
    )
    result = guard.choose(config.min_sqnr_db, progress)
    notes = list(samples.warnings)
    if len(watched) < len(fitted):
        notes.append(
            f"ranges are taken from {len(watched)} of the {len(fitted)} samples that are fitted "
            "on, spread over them: the network is large, and the work with samples is limited"
        )
    if len(fitted) == len(ordered):
        notes.append(
            f"{len(ordered)} calibration samples are too few to hold some out: how well integers "
            f"do is measured on the samples that they were fitted on (from {FEWEST_SAMPLES} on a "
            "quarter is held out)"
        )
    if with_judged_outputs(mod, operators) is not mod:
        notes.append(
            "rows of the outputs are chosen by what the network computes: judged are the numbers "
            "that they are chosen from, and by"
        )
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
        "fitted_on": len(watched),
        "judged_on": len(judging),
        "held_out": len(ordered) - len(fitted),
        "rounding": rounding.method,
        "equalized": scales is not None,
        "rounding_sqnr_db": {name: finite(db) for name, db in rounding.sqnr_db.items()},
        "observer": config.observer,
        "min_sqnr_db": config.min_sqnr_db,
    }
    outcome = Outcome(
        mod, operators, qparams, scales, rounding, guard, result, config, calibration, notes
    )
    return outcome.choice()


@dataclass(frozen=True)
class _Fitted:
    """A float network, instrumented and calibrated.

    Attributes:
        noise: the outputs' noise on held-out samples.
    """

    mod: Any
    operators: list[PlannedOperator]
    probe: Probe
    qparams: dict[Any, QParams]
    noise: OutputNoise

    @property
    def names(self) -> set[str]:
        """The operators that can do harm."""
        return {operator.name for operator in self.operators if operator.rounds}

    def nearest_db(self) -> float:
        """The ratio at the outputs with everything quantized, in dB."""
        return self.noise.sqnr_db(self.qparams, self.names)


def _fit(
    mod: Module,
    fitted: list[list[np.ndarray]],
    judging: list[list[np.ndarray]],
    config: QuantConfig,
    here: TargetDescription,
    progress: Progress,
    like: Probe | None = None,
) -> _Fitted:
    """Plan and calibrate ``mod`` on the samples ``fitted``; ``like`` may differ in weights only."""
    operators = plan_operators(mod, config)
    progress.stage("preparing calibration")
    probe = Probe(with_judged_outputs(mod, operators), operators, here, like)
    step = progress.stage("calibrating", len(fitted))
    calibrated = calibrate(probe, fitted, config, step)
    noise = OutputNoise(probe, judging)
    names = {operator.name for operator in operators if operator.rounds}
    qparams = share_scales(mod, calibrated, lambda params: noise.sqnr_db(params, names))
    return _Fitted(mod, operators, probe, qparams, noise)


def check_patterns(config: QuantConfig, operators: Sequence[Any]) -> None:
    """Raise ConfigError where a pattern of ``config`` matches none of ``operators``."""
    unmatched = config.unmatched([(operator.name, operator.kind) for operator in operators])
    if unmatched:
        raise ConfigError(
            f"no operator of the network matches {', '.join(map(repr, unmatched))}",
            hint="`tvmcomp inspect MODEL` lists the names.",
        )
