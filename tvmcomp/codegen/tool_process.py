"""Compilers and linkers that are programs of their own: run within a time, their output as text."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tvmcomp.errors import ToolError


def run_tool(
    command: Sequence[str],
    where: str,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whatever its exit status.

    Args:
        command: the program and its arguments; no shell reads them.
        where: its name in messages.
        timeout_s: it is ended after so many seconds.
        environment: all of its variables; None are this process's.
        folder: its working directory; None is this process's.

    Raises:
        ToolError: it can't be started, or took longer.
    """
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"no result within {timeout_s} s", where=where) from None
    except OSError as error:
        raise ToolError(f"can't start it: {error.strerror}", where=where) from None
