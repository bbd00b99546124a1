"""Processes of Python that this one starts: each imports what this one does.

``python -m`` looks into the working directory first: a person's ``signal.py`` or ``random.py``
there would take the place of Python's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_BEGIN = """\
import sys
sys.path[:] = [entry for entry in sys.path if entry]
import runpy
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def own_module(module: str) -> list[str]:
    """The command line that runs a module; its arguments follow."""
    return [sys.executable, "-c", _BEGIN, module]


def own_environment() -> dict[str, str]:
    """This process's environment, in which another imports from where this one does."""
    entries = (str(Path(entry).resolve()) for entry in sys.path if entry)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entries)}


def run_tvmcomp(*arguments: Any) -> tuple[dict[str, Any], str | None]:
    """Run a command in a process whose memory and threads are the network's alone.

    What fails there is a remark here.

    Returns:
        The document that it prints, empty where it prints none; and what it complains of.
    """
    done = subprocess.run(
        [*own_module("tvmcomp"), *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        env=own_environment(),
        check=False,
    )
    try:
        document: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        document = {}
    lines = [line.strip() for line in done.stderr.splitlines()]
    complaint = "; ".join(filter(None, lines))[:300] or f"exit status {done.returncode}"
    return document, complaint if done.returncode else None
