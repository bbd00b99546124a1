"""What was chosen for a network: the precision of every operator, and how that came about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tvmcomp.model import Operator, Precision
from tvmcomp.quantize.other_shape import Decisions
from tvmcomp.tvm_types import Module

#: Gives the outputs for the inputs of one sample, both in the order of the signature.
Run = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


class InFloat(Protocol):
    """A network whose operators can stay in float one by one."""

    @property
    def mod(self) -> Any:
        """The float network, whose operators' names count."""

    def choice(self, faster: Mapping[str, str] | None = None) -> PrecisionChoice:
        """The network with some operators more in float, and what tells that they are faster so."""

    def judged_db(self, run: Run) -> float | None:
        """The ratio of the outputs that ``run`` gives on the samples that the guard judges by, in
        dB; None where it judges by other numbers than the outputs."""


@dataclass(frozen=True)
class PrecisionChoice:
    """A network in its chosen precision.

    Attributes:
        mod: NHWC Relax; fake-quantized, with Q/DQ in it, where operators run in integers.
        precision: what was asked for; ``int8`` for a model that came quantized.
        operators: the build report's list.
        half: ``float16`` or ``bfloat16`` where the anchors' weights are stored so, and multiplied
            so where the target can.
        without_guard: the fake-quantized network with nothing kept in float, where the guard kept
            some.
        calibration: how it was calibrated, for the artifact's metadata.
        notes: what a person should know.
        decisions: how the float network was quantized, where it was calibrated; it holds for other
            shapes of the network.
        in_float: makes the same network with more of its operators in float; None where it can't.
    """

    mod: Module
    precision: Precision
    operators: list[Operator]
    half: str | None = None
    without_guard: Any | None = None
    calibration: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    decisions: Decisions | None = None
    in_float: InFloat | None = None
