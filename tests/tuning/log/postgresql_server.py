"""A real PostgreSQL for a test: Debian's binaries, a folder of its own, a socket in it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def binaries() -> Path | None:
    """The folder of ``initdb`` and ``pg_ctl``, or None where PostgreSQL is not installed."""
    on_path = shutil.which("pg_ctl")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if found:
        return found[-1].parent
    return Path(on_path).resolve().parent if on_path else None


@contextmanager
def postgresql() -> Iterator[str]:
    """Start a server; the address of its database. PostgreSQL refuses to run as root."""
    folder = binaries()
    assert folder is not None
    user = _unprivileged()
    place = Path(tempfile.mkdtemp(prefix="tvmcomp-pg-"))

    def run(program: str, *arguments: object) -> None:
        command = [str(folder / program), *map(str, arguments)]
        done = subprocess.run(
            command,
            user=user,
            group=None if user is None else pwd.getpwuid(user).pw_gid,
            cwd=place,
            stdout=log,
            stderr=log,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, (place / "log").read_text()

    try:
        if user is not None:
            os.chown(place, user, -1)
        with (place / "log").open("w") as log:
            kind = ("--auth=trust", "--no-locale", "-E", "UTF8")
            run("initdb", "-D", place / "data", "-U", "tvmcomp", *kind)
            options = f"-k {place} -c listen_addresses="
            run("pg_ctl", "-D", place / "data", "-o", options, "-w", "start")
            try:
                yield f"postgresql://tvmcomp@/postgres?host={place}"
            finally:
                run("pg_ctl", "-D", place / "data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _unprivileged() -> int | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise AssertionError("there is no unprivileged user to run PostgreSQL as")
