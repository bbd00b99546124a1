"""Commands of tvmcomp in a process of their own, whose memory and threads are the network's alone;
what fails there is a remark here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any


def run_tvmcomp(*arguments: Any) -> tuple[dict[str, Any], str | None]:
    """The document that a command prints, empty where it prints none; and what it complains of."""
    done = subprocess.run(
        [sys.executable, "-m", "tvmcomp", *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        check=False,
    )
    try:
        document: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        document = {}
    complaint = " ".join(done.stderr.split())[:300] or f"exit status {done.returncode}"
    return document, complaint if done.returncode else None
