"""The tool beside LLVM that every build needs: a linker."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tvmcomp.codegen.tool_process import run_tool
from tvmcomp.errors import ToolError
from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.features import architecture
from tvmcomp.temporary_folder import HINT

#: What ``executable.export_library(path, fcompile=…)`` takes.
LinkFunction = Callable[..., None]

#: The first link for an architecture builds its compiler support library: seconds when the machine
#: is idle, a minute when it is small and busy.
_LINK_TIMEOUT_S = 600
_LAST_LINES = 12
#: With less room than this in the temporary folder a linker fails for want of it.
_LEAST_FREE_BYTES = 1 << 20


class CCompiler(NamedTuple):
    """A compiler and linker of C and assembler for one target.

    Attributes:
        target: what it makes code for.
        command: its command line.
        environment: what it runs in.
        is_own: it is a person's, and its command line may name files of the working directory.
    """

    target: TargetDescription
    command: Sequence[str]
    environment: dict[str, str]
    is_own: bool = False

    def run(self, doing: str, output: Path, arguments: Sequence[str]) -> None:
        """Make the file ``output``.

        Args:
            doing: ``linking`` or ``compiling``, for errors.
            output: the file.
            arguments: options, sources and objects; their paths are absolute.

        Raises:
            ToolError: it fails, can't be started, or has no room.
        """
        where = f"{doing} for {self.target.name} with {shlex.join(self.command)}"
        made = str(output) if self.is_own else output.name
        command = [*self.command, "-o", made, *arguments]
        _run(command, self.environment, self.target, where, output.parent, not self.is_own)


def c_compiler(
    target: TargetDescription, linker: str | None = None, triple: str | None = None
) -> CCompiler:
    """The compiler of C for ``target``: zig's, or the user's own.

    Args:
        target: what it makes code for.
        linker: a C compiler's command line.
        triple: another than the target's, for zig: of musl, for programs that need no library.

    Raises:
        ToolError: it is not installed.
    """
    if linker is not None:
        return CCompiler(target, _own_command(linker), dict(os.environ), is_own=True)
    command = _zig_command(triple or target.link_triple or target.triple)
    return CCompiler(target, command, _zig_environment())


def linker_option(name: str, path: Path) -> list[str]:
    """``--name=path`` for the linker; ``-Wl,`` would end at a comma of the path."""
    return ["-Xlinker", f"--{name}={path}"]


def static_triple(target: TargetDescription) -> str:
    """The triple for zig of programs that need no library on the device."""
    arch = architecture(target.triple)
    return "arm-linux-musleabihf" if arch == "armv7" else f"{arch}-linux-musl"


def archive(target: TargetDescription, output: Path, objects: Sequence[Path]) -> None:
    """Make the static library ``output`` of object files, with an index of their symbols.

    Raises:
        ToolError: the archiver, zig's, is not installed, or fails.
    """
    command = [*_zig(), "ar", "rcsD", output.name, *map(str, objects)]
    where = f"making {output.name} with zig ar"
    _run(command, _zig_environment(), target, where, output.parent, inside=True)


def link_function(target: TargetDescription, linker: str | None = None) -> LinkFunction:
    """Return a function that links TVM's object files to a shared library for ``target``.

    The library needs nothing on the device but libc and libm (and, left open, the functions of
    TVM's runtime that loads it).

    Args:
        target: gives the triple, which may name the oldest glibc to load on.
        linker: a C compiler's command line to link with instead of zig's
            (``"aarch64-linux-gnu-gcc -mcpu=cortex-a72"``).

    Raises:
        ToolError: the compiler is not installed. Calling the result raises it when linking fails.
    """
    compiler = c_compiler(target, linker)

    def link(output: str, objects: Sequence[str], options: Sequence[str] = (), **_: Any) -> None:
        compiler.run("linking", Path(output), ["-shared", *objects, *options, "-lm"])

    # TVM asks for it when a module has no kernel of its own, only data to pack.
    link.get_target_triple = lambda: target.triple  # type: ignore[attr-defined]
    return link


def _zig() -> list[str]:
    found = importlib.util.find_spec("ziglang")
    if found is None or found.origin is None:
        raise ToolError(
            "the linker that tvmcomp uses, the package ziglang, is not installed",
            hint="`pip install ziglang`, or name a C compiler for the target with --linker.",
        )
    # `python -m ziglang` does the same, and looks for Python's modules in the working directory.
    return [str(Path(found.origin).absolute().with_name("zig"))]


def _zig_command(triple: str) -> list[str]:
    # -s and -O2 are for zig's own support library, which it builds at the first link: without them
    # that takes ten times as long and the library is twenty times as big.
    return [*_zig(), "cc", "-target", triple, "-s", "-O2"]


def _own_command(linker: str) -> list[str]:
    command = shlex.split(linker)
    if not command or shutil.which(command[0]) is None:
        raise ToolError(
            f"there is no compiler {command[0] if command else linker!r} on this machine",
            where="--linker",
            hint="Install it, or leave --linker out: the built-in linker serves every target.",
        )
    return command


def _zig_environment() -> dict[str, str]:
    """The environment for zig, with a cache folder that can be written to."""
    environment = dict(os.environ)
    cache = environment.get("ZIG_GLOBAL_CACHE_DIR") or str(_cache_folder())
    # The local cache would else lie in the working directory.
    return {**environment, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}


def _cache_folder() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    # A read-only or missing home leaves the temporary folder, with a name for each user.
    for folder in (base / "tvmcomp", Path(tempfile.gettempdir()) / f"tvmcomp-{os.getuid()}"):
        try:
            (folder / "zig").mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        # Never link with what another user may have put there.
        if os.access(folder / "zig", os.W_OK) and folder.stat().st_uid == os.getuid():
            return folder / "zig"
    return Path(tempfile.mkdtemp(prefix="tvmcomp-zig-"))


def _run(
    command: list[str],
    environment: dict[str, str],
    target: TargetDescription,
    where: str,
    folder: Path,
    inside: bool = False,
) -> None:
    """Run it; ``inside`` the folder that it writes to, as LLVM takes a ``%`` in a path for a digit
    that it may choose."""
    done = run_tool(command, where, _LINK_TIMEOUT_S, environment, folder if inside else None)
    if done.returncode != 0:
        lines = (done.stderr + done.stdout).strip().splitlines()[-_LAST_LINES:]
        if done.returncode < 0:
            lines.append(f"it was ended by {signal.Signals(-done.returncode).name}")
        if _out_of_room(done, folder):
            cache = environment.get("ZIG_GLOBAL_CACHE_DIR")
            raise ToolError(
                "\n  ".join(["there is no room for what the linker writes:", *lines]),
                where=where,
                hint=f"{HINT} It also writes to {cache} (ZIG_GLOBAL_CACHE_DIR)." if cache else HINT,
            )
        raise ToolError(
            "\n  ".join(["the linker failed:", *lines]),
            where=where,
            hint=f"Its triple is {target.link_triple or target.triple} (`link_triple` of the "
            "target); a compiler given with --linker must make code for the same.",
        )


def _out_of_room(done: subprocess.CompletedProcess[str], folder: Path) -> bool:
    """Whether a linker failed because it could not write, as far as it can be told."""
    signs = ("No space left", "NoSpaceLeft", "File too large", "FileTooBig", "Disk quota")
    ended_writing = -done.returncode in (signal.SIGBUS, signal.SIGXFSZ)
    full = shutil.disk_usage(folder).free < _LEAST_FREE_BYTES
    return ended_writing or full or any(sign in done.stderr + done.stdout for sign in signs)
