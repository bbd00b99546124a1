"""What units cost on the target, at any width and in each format; measured, each model once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from statistics import median

import onnx

from tvmcomp import __version__
from tvmcomp.compress.channels.cost import NetworkCost
from tvmcomp.compress.channels.groups import Groups
from tvmcomp.compress.cost import Compute, OperatorTimes
from tvmcomp.progress import Progress
from tvmcomp.targets.fingerprint import local_fingerprint
from tvmcomp.tuning.log.places import own_location

#: Models that are timed in turns with each other, and lost together where a search is killed.
_AT_ONCE = 4


def device_times(target: str, device: str | None) -> OperatorTimes:
    """Times of small models on a device, with all that searches before have measured there.

    They are kept beside the user's tuning log, a file for each target, device (this machine by its
    fingerprint) and version of tvmcomp.
    """
    times = OperatorTimes(target, device)
    of = times.identity if device else f"{times.identity} {local_fingerprint().model}"
    digest = hashlib.sha256(f"{of} {__version__}".encode()).hexdigest()[:16]
    folder = own_location().parent / "operator_times"

    def make() -> None:
        folder.mkdir(parents=True, exist_ok=True)

    times.keep_in(folder / f"{digest}.json", make)
    return times


class Costs:
    """The costs of a network's units.

    Attributes:
        by_compute: what its products are computed in -> its costs.
        notes: what was not measured, and why.
    """

    def __init__(
        self, groups: Groups, times: OperatorTimes, deadline: float, progress: Progress
    ) -> None:
        """Args:
        groups: of the network, in float.
        times: on the target.
        deadline: when measuring ends, by ``time.monotonic()``; what is left is modelled.
        progress: is told of each stage.

        Raises:
            TvmcompError: a unit can't be built, or the device failed.
        """
        lanes = max(1, times.target.vector_bits // 32)
        self.notes: list[str] = []
        self.by_compute: dict[Compute, NetworkCost] = {}
        computes: tuple[Compute, ...] = ("float", "int8")
        for compute in computes:
            meter = self._meter(times, compute, deadline, progress)
            self.by_compute[compute] = NetworkCost(groups, meter, lanes)

    def _meter(
        self, times: OperatorTimes, compute: Compute, deadline: float, progress: Progress
    ) -> Callable[[Sequence[onnx.ModelProto]], list[float]]:
        modelled = OperatorTimes(times.target)
        modelled.measured = False

        def seconds(models: Sequence[onnx.ModelProto]) -> list[float]:
            step = progress.stage(f"timing operators ({compute})", len(models))
            rough = modelled.in_turns(models, compute)
            found: list[float] = []
            for start in range(0, len(models), _AT_ONCE):
                part = models[start : start + _AT_ONCE]
                if time.monotonic() > deadline and found:
                    break
                found += times.in_turns(part, compute)
                for _ in part:
                    step()
            left = len(models) - len(found)
            if left:
                self.notes.append(
                    f"{left} of {len(models)} times of operators in {compute} are modelled: the "
                    "budget did not last for all of them"
                )
                ratio = median(a / b for a, b in zip(found, rough, strict=False))
                found += [ratio * each for each in rough[len(found) :]]
            return found

        return seconds
