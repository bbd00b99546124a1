"""nvcc: CUDA's compiler as a program, from NVIDIA's toolkit."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path

from tvmcomp.codegen.cuda.compiler import (
    Compiled,
    has_later_ptx,
    refused,
    virtual,
    with_fewest_spills,
)
from tvmcomp.codegen.tool_process import run_tool
from tvmcomp.errors import ToolError
from tvmcomp.temporary_folder import temporary_folder

_TIMEOUT_S = 1800


@functools.cache
def find_nvcc() -> Nvcc | None:
    """The one on the PATH, or None."""
    path = shutil.which("nvcc")
    ptxas = shutil.which("ptxas") or _beside(path)
    if path is None or ptxas is None:
        return None
    try:
        return Nvcc(path, ptxas)
    except ToolError:  # it is there and does not run
        return None


class Nvcc:
    """See :class:`~tvmcomp.codegen.cuda.compiler.CudaCompiler`.

    Args:
        path: of nvcc.
        ptxas: of its assembler.

    Raises:
        ToolError: it does not run.
    """

    def __init__(self, path: str, ptxas: str) -> None:
        self._path, self._ptxas = path, ptxas
        self.name = "nvcc"
        text = self._run([path, "--version"])
        self.name = f"nvcc {text.partition('release ')[2].partition(',')[0]}".strip()

    def compile(self, source: str, arch: str) -> Compiled:
        """In two steps, so that the source is read once."""
        with temporary_folder("cuda") as folder:
            text, ptx, cubin = (folder / f"kernels.{kind}" for kind in ("cu", "ptx", "cubin"))
            text.write_text(source)
            options = ["-O3", "--expt-relaxed-constexpr", "-std=c++17", "-w"]
            named = f"-arch={virtual(arch)}"
            self._run([self._path, "--ptx", named, *options, "-o", str(ptx), str(text)])
            later = ptx.read_bytes() if has_later_ptx(arch) else b""

            def assembled(more: Sequence[str]) -> Compiled:
                how = ["-v", f"-arch={arch}", *more]
                log = self._run([self._ptxas, *how, "-o", str(cubin), str(ptx)])
                return Compiled(cubin.read_bytes(), later, log)

            return with_fewest_spills(assembled)

    def _run(self, command: Sequence[str]) -> str:
        done = run_tool(command, self.name, _TIMEOUT_S)
        if done.returncode != 0:
            raise refused(self.name, done.stdout + done.stderr)
        return done.stdout + done.stderr


def _beside(nvcc: str | None) -> str | None:
    path = Path(nvcc).resolve().with_name("ptxas") if nvcc else None
    return str(path) if path is not None and path.exists() else None
