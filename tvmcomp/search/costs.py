"""What units cost on the target, at any width and in each format; measured, each model once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from functools import partial

import onnx

from tvmcomp import __version__
from tvmcomp.compress.channels.cost import Meter, NetworkCost
from tvmcomp.compress.channels.groups import Groups
from tvmcomp.compress.cost import Compute, OperatorTimes, submodel
from tvmcomp.progress import Progress
from tvmcomp.targets.fingerprint import local_fingerprint
from tvmcomp.tuning.log.places import own_location

#: Models that are timed in turns with each other, and lost together where a search is killed.
_AT_ONCE = 4
COMPUTES: tuple[Compute, ...] = ("float", "int8")


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

    First each unit is timed with all channels, in float and in int8; how its time falls with fewer
    of them is modelled. Where the time suffices, a few widths of each are timed as well.

    Attributes:
        network: its units and their groups' vectors.
        notes: what was not measured, and why.
    """

    def __init__(
        self, groups: Groups, times: OperatorTimes, deadline: float, progress: Progress
    ) -> None:
        """Args:
        groups: of the network, in float.
        times: on the target.
        deadline: when measuring ends, by ``time.monotonic()``.
        progress: is told of each stage.

        Raises:
            TvmcompError: a unit can't be built, or the device failed.
        """
        self._times, self._progress = times, progress
        self._groups, self._lanes = groups, max(1, times.target.vector_bits // 32)
        self.notes: list[str] = []
        modelled = OperatorTimes(times.target)
        modelled.measured = False
        self._modelled = {
            compute: self._cost(partial(modelled.in_turns, compute=compute)) for compute in COMPUTES
        }
        self.network = self._modelled["float"]
        whole = [submodel(groups.model, unit.nodes) for unit in self.network.units]
        self._whole = {compute: self._timed(whole, compute, float("inf")) for compute in COMPUTES}
        self._measured: dict[Compute, NetworkCost] = {}
        for compute in COMPUTES:
            try:
                self._measured[compute] = self._cost(
                    partial(self._timed, compute=compute, deadline=deadline)
                )
            except _OutOfTimeError:
                self.notes.append(
                    f"how times in {compute} fall with fewer channels is modelled in part: the "
                    "budget did not last to measure it"
                )

    def seconds(self, unit: int, compute: Compute, shares: Mapping[int, float]) -> float:
        """Of a unit, by its position, with these shares of its groups."""
        if compute in self._measured:
            return self._measured[compute].of_unit(unit, shares)
        modelled = self._modelled[compute]
        ratio = modelled.of_unit(unit, shares) / max(modelled.of_unit(unit, modelled.all()), 1e-12)
        return self._whole[compute][unit] * ratio

    def _cost(self, meter: Meter) -> NetworkCost:
        return NetworkCost(self._groups, meter, self._lanes)

    def _timed(
        self, models: Sequence[onnx.ModelProto], compute: Compute, deadline: float
    ) -> list[float]:
        """Seconds of each, measured a few at a time: what is killed loses no more."""
        step = self._progress.stage(f"timing operators ({compute})", len(models))
        found: list[float] = []
        for start in range(0, len(models), _AT_ONCE):
            if time.monotonic() > deadline:
                raise _OutOfTimeError
            part = models[start : start + _AT_ONCE]
            found += self._times.in_turns(part, compute)
            for _ in part:
                step()
        return found


class _OutOfTimeError(Exception):
    """Measuring took too long; what was measured is kept for another search."""
