"""Write the object files of an executable without letting LLVM end the process.

LLVM leaves the process, exit handlers and all, when a write fails: the disk is full, or a file
would be larger than the process may write. So it writes to memory, from where we copy.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tvmcomp.errors import ToolError

#: Code generation of one network takes seconds; a child that waits for a lock never ends.
_TRIAL_SECONDS = 120


def export(executable: Any, path: Path, link: Callable[..., None]) -> None:
    """Write an executable's object files beside ``path`` and link them to it.

    Args:
        executable: what ``tvm.compile`` returned.
        path: of the library to write.
        link: takes the library's path, the object files' paths, and options by name.

    Raises:
        OSError: there is no room for an object file.
        ToolError: one is larger than this process may write; or what ``link`` raises.
    """
    folder = path.parent

    def write() -> None:
        with _in_memory(executable, folder):
            executable.export_library(str(path), fcompile=_write_only, workspace_dir=str(folder))

    if _tried(write, folder.parent):
        for left in folder.iterdir():
            left.unlink()
    with _in_memory(executable, folder):

        def copy_and_link(output: str, objects: Sequence[str], **options: Any) -> None:
            for name in objects:
                _copy_from_memory(Path(name))
            link(output, objects, **options)

        copy_and_link.get_target_triple = link.get_target_triple  # type: ignore[attr-defined]
        executable.export_library(str(path), fcompile=copy_and_link, workspace_dir=str(folder))


def object_file(module: Any) -> bytes:
    """The object file of a module of machine code, of TVM's.

    Raises:
        ToolError: it is larger than this process may write.
    """
    _tried(lambda: _object_file(module), Path(tempfile.gettempdir()))
    return _object_file(module)


def _object_file(module: Any) -> bytes:
    memory = os.memfd_create("kernels.o")
    try:
        path = Path(f"/proc/self/fd/{memory}")
        module.write_to_file(str(path), "o")
        return path.read_bytes()
    finally:
        os.close(memory)


@contextmanager
def _in_memory(executable: Any, folder: Path) -> Iterator[None]:
    """Links in ``folder``, by the names that TVM gives to object files, that lead to memory."""
    modules = _modules(executable.mod)
    exportable = sum(module.is_compilation_exportable() for module in modules)
    names = [*(f"lib{index}.o" for index in range(exportable)), "devc.o"]
    with ExitStack() as stack:
        for name in names:
            memory = os.memfd_create(name)
            stack.callback(os.close, memory)
            (folder / name).symlink_to(f"/proc/{os.getpid()}/fd/{memory}")
        yield


def _copy_from_memory(path: Path) -> None:
    if path.is_symlink():
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)


def _modules(root: Any) -> list[Any]:
    found = [root]
    for module in found:  # it grows meanwhile
        found += [child for child in module.imports if child not in found]
    return found


def _tried(write: Callable[[], object], where: Path) -> bool:
    """Whether there is a limit on the size of files (``ulimit -f``), which does for ``write``.

    It holds for memory too. How large the files become is known when they are written, so where
    there is a limit a child process tries.

    Raises:
        ToolError: it does not.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit == resource.RLIM_INFINITY:
        return False
    child = os.fork()
    if child == 0:
        try:
            # With a handler of this process's own the alarm would end nothing.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_TRIAL_SECONDS)
            _end_at_once()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # for what LLVM says at its end
            write()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        return True  # It waited for a lock that a thread held when it was forked: nothing is known.
    if status != 0:
        raise ToolError(
            f"the code can't be written: this process may write files of {limit} bytes at most",
            where=str(where),
            hint="Raise the limit (`ulimit -f unlimited`).",
        )
    return True


def _end_at_once() -> None:
    """Let ``exit``, which LLVM calls where it can't write, end this process at once: at their end
    other libraries would wait for threads that a forked process does not have (ONNX Runtime's).
    """
    libc = ctypes.CDLL(None)
    libc.__cxa_atexit(ctypes.cast(libc._exit, ctypes.c_void_p), ctypes.c_void_p(1), None)


def _write_only(*_: Any, **__: Any) -> None:
    """Stands for a linker."""
