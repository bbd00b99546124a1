"""A file system with little room, for what must say that there is none."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from needed import missing


@contextmanager
def small_disk(folder: Path, kib: int, options: str = "") -> Iterator[Path]:
    """``folder`` with room for ``kib`` KiB; skips the test where none can be mounted."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k{options}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        missing("only root can mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
