"""Prepare the root of the emulated ARM board: QEMU, an arm64 Python, and TVM's aarch64 wheels.

Everything is downloaded with the host's own apt and pip configuration and unpacked into a cache
folder. Nothing is installed on the host, its dpkg architectures stay as they are, and no root
rights are needed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# apt adds what these need (libc6 and so on). python3 decides the version of the board's Python.
DEBIAN_PACKAGES = ("python3", "libstdc++6", "qemu-user-static:amd64")

# The board runs the same TVM as the host: keep these in step with pyproject.toml.
WHEELS = (
    "apache-tvm[rpc]==0.27.0.post1",
    "apache-tvm-ffi>=0.1.14.post0,<0.1.15",
    "numpy>=2,<3",
)

# pip takes a platform literally: a wheel tagged for an older glibc needs its own entry.
WHEEL_PLATFORMS = (
    "manylinux2014_aarch64",
    "manylinux_2_17_aarch64",
    "manylinux_2_27_aarch64",
    "manylinux_2_28_aarch64",
)

# Count this up when the way a root is laid out changes, so that older cached roots are not used.
LAYOUT = 1
#: What a step of preparing may take: a download over a slow line.
STEP_SECONDS = 1200

# A board only runs programs, so the compiler (240 MB) is left out of its root.
NOT_FOR_A_BOARD = ("libtvm_compiler.so", "libtvm_runtime_cuda.so")

# Debian has no binfmt entry for QEMU here, so a process on the board that starts another one from
# sys.executable must be given a program that the host can run: this script, then sys.executable.
PYTHON_SCRIPT = """\
#!/bin/sh
here=${0%/*}
exec "$here/qemu-aarch64" -L "$here/root" "$here/root/usr/bin/python3" "$@"
"""
SITECUSTOMIZE = """\
import os
import sys

sys.executable = os.path.join(os.path.dirname(os.path.dirname(__file__)), "python")
"""


class BoardError(Exception):
    """The board can't be prepared or started; the message says why."""


@dataclass(frozen=True)
class BoardRoot:
    """A prepared folder that holds everything that the emulated board runs."""

    path: Path

    @property
    def python(self) -> Path:
        """The script that runs the board's Python under QEMU."""
        return self.path / "python"

    def environment(self, cpu: str, temporary: Path) -> dict[str, str]:
        """The whole environment of a process on the board; nothing of the host's leaks in."""
        return {
            "HOME": str(temporary),
            "TMPDIR": str(temporary),
            "PATH": os.defpath,
            "PYTHONPATH": str(self.path / "site"),
            "PYTHONUNBUFFERED": "1",
            "QEMU_CPU": cpu,
            "TVM_USE_RUNTIME_LIB": "1",
        }


def unavailable_reason() -> str | None:
    """Why this machine can't have an emulated board, or None if it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"needs Linux on x86-64, this is {sys.platform} on {platform.machine()}"
    if _finished_root().exists():
        return None
    if _os_release("ID") != "debian":
        return "needs Debian, whose repositories hold the arm64 packages beside the amd64 ones"
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            return f"needs {program}, which is not on the PATH"
    if importlib.util.find_spec("pip") is None:
        return f"needs pip, which {sys.executable} does not have"
    return None


def prepare() -> BoardRoot:
    """Return the cached root, made first if need be (about half a minute, 150 MB of downloads).

    The root is made in a temporary folder and renamed when it is complete, so a preparation that
    is killed leaves no half-made root. Several processes may call this at once: one prepares.
    """
    finished = _finished_root()
    if finished.exists():
        return BoardRoot(finished)
    if reason := unavailable_reason():
        raise BoardError(f"no emulated ARM board on this machine: it {reason}")
    finished.parent.mkdir(parents=True, exist_ok=True)
    with _locked(finished.parent / "lock"):
        if not finished.exists():
            for leftover in finished.parent.glob("preparing-*"):
                shutil.rmtree(leftover)
            preparing = finished.parent / f"preparing-{os.getpid()}"
            try:
                _fill(preparing)
                preparing.rename(finished)
            finally:
                shutil.rmtree(preparing, ignore_errors=True)
    return BoardRoot(finished)


def _finished_root() -> Path:
    """Where the root lies: one folder a Debian release and recipe."""
    default = Path.home() / ".cache" / "tvmcomp-board"
    cache = Path(os.environ.get("TVMCOMP_BOARD_CACHE", default)).expanduser().absolute()
    recipe = repr((LAYOUT, DEBIAN_PACKAGES, WHEELS, WHEEL_PLATFORMS))
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:8]
    return cache / f"{_os_release('VERSION_CODENAME')}-{digest}"


def _os_release(field: str) -> str:
    try:
        return platform.freedesktop_os_release().get(field, "unknown")
    except OSError:
        return "unknown"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fill(path: Path) -> None:
    """Make a complete root in the folder `path`, which does not exist yet."""
    downloads = path / "downloads"
    downloads.mkdir(parents=True)
    root, site = path / "root", path / "site"
    for package in _download_packages(downloads):
        # The emulator is the one package for the host.
        target = downloads / "host" if package.name.endswith("_amd64.deb") else root
        _run(["dpkg-deb", "--extract", str(package), str(target)])
    shutil.move(_emulator(downloads / "host" / "usr" / "bin"), path / "qemu-aarch64")
    shutil.rmtree(downloads)

    # Debian's python3 is a link to the release's version: "python3.11".
    version = (root / "usr" / "bin" / "python3").readlink().name.removeprefix("python")
    _download_wheels(site, version)
    for name in NOT_FOR_A_BOARD:
        (site / "tvm" / "lib" / name).unlink()
    (site / "sitecustomize.py").write_text(SITECUSTOMIZE)
    board = BoardRoot(path)
    board.python.write_text(PYTHON_SCRIPT)
    board.python.chmod(0o755)

    # Proves that the root works, and stores the bytecode of all that a server imports: without
    # it every start compiles that again under emulation, 5 seconds where it can take 2.
    modules = "import tvm.rpc.server, tvm.rpc.tracker"
    _run([str(board.python), "-c", modules], environment=board.environment("max", path))


def _download_packages(folder: Path) -> list[Path]:
    """Download DEBIAN_PACKAGES and what they need, with apt told that this is an arm64 machine.

    apt reads the host's sources and proxies, but keeps its lists, its cache and its idea of what
    is installed (nothing) in `folder`.
    """
    for part in ("lists/partial", "archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "status").touch()
    configuration = folder / "apt.conf"
    # The hooks belong to the host's cache; _apt, the user that downloads, may not read `folder`.
    configuration.write_text(
        f"""\
#clear APT::Architectures;
#clear APT::Update;
#clear DPkg;
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; "amd64"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Retries "3";
Dir::State "{folder}";
Dir::State::lists "lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}";
Dir::Cache::archives "archives";
"""
    )
    apt = ["apt-get", "-c", str(configuration), "-q", "-y"]
    _run([*apt, "update"])
    _run([*apt, "install", "--download-only", *DEBIAN_PACKAGES])
    return sorted((folder / "archives").glob("*.deb"))


def _emulator(folder: Path) -> Path:
    """The static QEMU in `folder`; newer Debian releases drop "-static" from its name."""
    for name in ("qemu-aarch64-static", "qemu-aarch64"):
        program = folder / name
        if program.is_file() and not program.is_symlink():
            return program
    found = sorted(path.name for path in folder.iterdir())
    raise BoardError(f"no qemu-aarch64 in the downloaded packages: {found}")


def _download_wheels(folder: Path, python_version: str) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--target", str(folder), "--only-binary=:all:", "--implementation=cp"]
    options += [f"--python-version={python_version}"]
    options += [f"--platform={name}" for name in WHEEL_PLATFORMS]
    _run([*pip, *options, *WHEELS])


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise BoardError(
            f"preparing the emulated ARM board took over {STEP_SECONDS} s at: {' '.join(command)}"
        ) from None
    if done.returncode != 0:
        last_lines = "\n".join(done.stdout.splitlines()[-20:])
        shown = " ".join(command)
        raise BoardError(f"preparing the emulated ARM board failed at: {shown}\n{last_lines}")
