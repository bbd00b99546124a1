"""Times of small models on a device, with all that searches before have measured there."""

from __future__ import annotations

import hashlib

from tvmcomp import __version__
from tvmcomp.compress.cost import OperatorTimes
from tvmcomp.targets.fingerprint import local_fingerprint
from tvmcomp.tuning.log.places import own_location


def device_times(target: str, device: str | None) -> OperatorTimes:
    """Times of small models on a device.

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
