"""An engine's memory; with the standard library alone, as what the process imports counts."""

from __future__ import annotations

from pathlib import Path


def peak_mib() -> float:
    """The largest resident memory that this process ever had, the files that it maps included.

    Not getrusage's, which begins with what the parent had when it started this process.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
