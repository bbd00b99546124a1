"""Time what was built, where it is to run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from tvmcomp.errors import DeviceError


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
    command = [sys.executable, "-m", "tvmcomp", "bench", str(artifact), "--json"]
    done = subprocess.run(
        [*command, *([] if device is None else ["--device", device])],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        check=False,
    )
    try:
        found = json.loads(done.stdout)
        peak = found["peak_memory_mib"]
        return Timed(
            artifact.stat().st_size,
            float(found["p50_ms"]),
            float(found["p99_ms"]),
            None if peak is None else int(peak * 2**20),
            str(found["machine"]),
        )
    except (ValueError, KeyError, TypeError):
        said = " ".join(done.stderr.split())[:300] or f"exit status {done.returncode}"
        raise DeviceError(
            f"a network could not be timed: {said}",
            where="this machine" if device is None else device,
            hint="What was measured is kept: the same command goes on from there.",
        ) from None
