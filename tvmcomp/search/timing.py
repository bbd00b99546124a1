"""Time what was built, where it is to run."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tvmcomp.errors import DeviceError
from tvmcomp.own_process import run_tvmcomp


class Timed(msgspec.Struct, frozen=True):
    """What was built, on the device.

    Attributes:
        file_bytes: of the artifact.
        p50_ms, p99_ms: latency.
        peak_memory_bytes: largest resident memory of the process that ran it; None: unknown.
        machine: where.
    """

    file_bytes: int
    p50_ms: float
    p99_ms: float
    peak_memory_bytes: int | None
    machine: str


def benched(artifact: Path, device: str | None) -> Timed:
    """Time an artifact by ``tvmcomp bench``: in a process of its own, whose memory is the network's
    and not torch's.

    Args:
        artifact: its file.
        device: where; None is this machine.

    Raises:
        DeviceError: it could not be timed.
    """
    there = [] if device is None else ["--device", device]
    found, problem = run_tvmcomp("bench", artifact, *there)
    try:
        peak = found["peak_memory_mib"]
        return Timed(
            artifact.stat().st_size,
            float(found["p50_ms"]),
            float(found["p99_ms"]),
            None if peak is None else int(peak * 2**20),
            str(found["machine"]),
        )
    except (KeyError, TypeError, ValueError):
        raise DeviceError(
            f"a network could not be timed: {problem or 'bench gave no times'}",
            where="this machine" if device is None else device,
            hint="What was measured is kept: the same command goes on from there.",
        ) from None
