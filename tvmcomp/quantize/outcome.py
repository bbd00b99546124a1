"""A calibrated and guarded network as what is built: with all of its integers, or fewer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvmcomp.qparams import QParams
from tvmcomp.quantize.annotate import annotate
from tvmcomp.quantize.best_rounding import Rounding
from tvmcomp.quantize.choice import PrecisionChoice, Run
from tvmcomp.quantize.config import QuantConfig
from tvmcomp.quantize.equalize import Scales
from tvmcomp.quantize.guard import Guard, GuardResult
from tvmcomp.quantize.judged_outputs import with_judged_outputs
from tvmcomp.quantize.operator_report import report_operators
from tvmcomp.quantize.other_shape import Decisions
from tvmcomp.quantize.plan import plan_operators
from tvmcomp.quantize.planned_operator import PlannedOperator
from tvmcomp.tvm_types import Module, Var

#: So much better than what is asked for the ratio must be with int8 weights of float operators.
_WEIGHT_MARGIN_DB = 10.0
#: JSON has no infinity; no difference at all reads as this ratio.
_NO_NOISE_DB = 200.0


@dataclass(frozen=True)
class Outcome:
    """What calibration, rounding and the guard came to.

    Attributes:
        mod: the float network.
        operators: its plan with nothing kept in float.
        qparams: parameters of the tensors that the plan reads.
        scales: what its channels were divided by, None where they were not.
        rounding: the weights' integers.
        guard: measures the outputs' noise.
        result: what the guard decided.
        config: settings.
        calibration: how it was calibrated, without the outcome.
        notes: what a person should know.
    """

    mod: Module
    operators: list[PlannedOperator]
    qparams: Mapping[Var, QParams]
    scales: Scales | None
    rounding: Rounding
    guard: Guard
    result: GuardResult
    config: QuantConfig
    calibration: dict[str, Any]
    notes: list[str]

    def choice(self, faster: Mapping[str, str] | None = None) -> PrecisionChoice:
        """The network with what the guard keeps in float, and more.

        Args:
            faster: operators that stay float because they are faster so, and what tells.
        """
        faster, result = faster or {}, self.result
        weight_only = {*result.weight_only, *self._short_weights(faster)}
        final = self.operators
        if result.keep_float or faster:
            final = plan_operators(self.mod, self.config, result.keep_float, weight_only, faster)
        on = {operator.name for operator in final if operator.rounds}
        sqnr_db = self.guard.network_sqnr(on, weight_only) if faster else result.sqnr_db
        calibration = {
            **self.calibration,
            "sqnr_db": finite(sqnr_db),
            "all_quantized_sqnr_db": finite(result.all_quantized_db),
            "kept_float": list(result.keep_float),
            "weight_only": list(result.weight_only),
        }
        own_db = self.guard.operator_sqnr(on, weight_only) if on else {}
        return PrecisionChoice(
            annotate(self.mod, final, self.qparams, self.rounding.weights),
            "int8",
            report_operators(
                self.mod,
                final,
                {name: finite(db) for name, db in own_db.items()},
                {name: finite(db) for name, db in result.alone_db.items()},
            ),
            without_guard=annotate(self.mod, self.operators, self.qparams, self.rounding.weights)
            if result.keep_float and not faster
            else None,
            calibration=calibration,
            notes=list(self.notes),
            decisions=Decisions(
                self.config,
                self.scales,
                result.keep_float,
                weight_only,
                faster,
                self.qparams,
                self.rounding.weights,
            ),
            in_float=self,
        )

    def judged_db(self, run: Run) -> float | None:
        """The ratio of the outputs that ``run`` gives; see :class:`InFloat`."""
        if with_judged_outputs(self.mod, self.operators) is not self.mod:
            return None
        noise = self.guard.held_out
        runs = [run(inputs) for inputs in noise.samples]
        return finite(noise.judged([np.stack(arrays) for arrays in zip(*runs, strict=True)]))

    def _short_weights(self, faster: Mapping[str, str]) -> set[str]:
        """Those of the float operators ``faster`` whose weights keep 8 bits, which makes the file
        smaller: all, or none where that does harm."""
        anchors = {op.name for op in self.operators if op.name in faster and op.is_anchor}
        least = self.config.min_sqnr_db
        if not anchors or least is None:
            return anchors
        ratio = self.guard.network_sqnr((), anchors)
        return anchors if ratio >= least + _WEIGHT_MARGIN_DB else set()


def finite(db: float) -> float:
    """A ratio as JSON can hold it."""
    return float(np.clip(np.nan_to_num(db, nan=-_NO_NOISE_DB), -_NO_NOISE_DB, _NO_NOISE_DB))
