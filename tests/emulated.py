"""Programs for other processors, run under QEMU's user mode."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from needed import missing

#: What QEMU calls the first part of a triple.
_NAMES = {"armv7l": "arm"}
SECONDS = 600


def emulator(triple: str) -> str:
    """What runs programs for ``triple``; without it the test is skipped, and in CI fails."""
    arch = triple.partition("-")[0]
    name = f"qemu-{_NAMES.get(arch, arch)}"
    # Newer Debian releases drop "-static" from the name.
    found = shutil.which(f"{name}-static") or shutil.which(name)
    if found is None:
        missing(f"needs {name}-static; it comes with Debian's qemu-user-static")
    return found


def run_emulated(
    triple: str, program: Path, arguments: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    """What a static program for another processor does."""
    command = [emulator(triple), str(program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
