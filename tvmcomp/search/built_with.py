"""What decides how a network is built beside itself and its target: versions, code, and records."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import tvmcomp
from tvmcomp.codegen import cruntime
from tvmcomp.tuning.log.places import own_location
from tvmcomp.tuning.log.record import Versions


@cache
def code_digest() -> str:
    """Of the tools' versions and the code of tvmcomp: a checkout's version does not tell of its
    changes."""
    found = hashlib.sha256(repr(Versions.here()).encode())
    python, runtime = Path(tvmcomp.__file__).parent, cruntime.folder()
    for file in (*sorted(python.rglob("*.py")), *sorted(runtime.glob("*.[ch]"))):
        found.update(file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:16]


def build_digest() -> str:
    """Of all that a build depends on here: the code, and the user's tuning records, whose files
    only grow."""
    log = own_location()
    files = sorted(file for file in log.rglob("*.jsonl") if file.is_file())
    sizes = [(str(file.relative_to(log)), file.stat().st_size) for file in files]
    return hashlib.sha256(f"{code_digest()} {sizes}".encode()).hexdigest()[:16]
