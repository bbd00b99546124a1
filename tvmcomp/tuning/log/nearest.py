"""How close a record's device is to the one that is compiled for, and how to say it."""

from __future__ import annotations

import math
from typing import NamedTuple

from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.tuning.log.record import Target

_COMPARED = {"cores": "cores", "l1_kib": "KiB L1", "l2_kib": "KiB L2", "l3_kib": "KiB L3"}


class Nearness(NamedTuple):
    """Compares as it is nearer: the same model before others, then the nearest description."""

    other_model: bool
    distance: float
    reason: str


def nearness(
    measured_for: Target,
    measured_on: Fingerprint,
    target: TargetDescription,
    device: Fingerprint | None,
) -> Nearness | None:
    """How near a record is, or None where it is for another instruction set.

    The distance of two descriptions adds up, over cores and caches, how many times one has to be
    doubled to be the other; where one of them does not tell, it counts as one doubling.

    Args:
        measured_for: the record's target.
        measured_on: the record's device.
        target: what is compiled for.
        device: where that will run, if it is known.
    """
    wanted = Target.of(target)
    if measured_for.instruction_set != wanted.instruction_set:
        return None
    distance = 0.0
    unlike = []
    for name, unit in _COMPARED.items():
        there, here = getattr(measured_for, name), getattr(wanted, name)
        if there != here:
            distance += abs(math.log2(there / here)) if there and here else 1.0
            unlike.append(f"{there} {unit} there and {here} here")
    if measured_for.cpu != wanted.cpu:
        distance += 1.0
        unlike.append(f"made for CPU {measured_for.cpu or '(generic)'}")
    same_model = device is not None and device.same_model(measured_on)
    of_model = "GPU model" if target.family == "cuda" else "CPU model and features"
    same = f"same {of_model}" if same_model else "same instruction set"
    how = f"nearest description: {', '.join(unlike)}" if unlike else "same description"
    reason = f"{same}, {how}; measured on {measured_on.cpu or 'an unknown device'}"
    return Nearness(not same_model, distance, reason)
