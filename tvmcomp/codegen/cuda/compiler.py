"""What a CUDA compiler is: source in, machine code and PTX out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, Protocol

from tvmcomp.errors import ToolError

#: The assembler's option to leave out optimizations that take registers. Where it spills, that may
#: be for their sake: on Turing products wrote one register of 72 to memory.
FEWER_REGISTERS = "--register-usage-level=0"
_SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
_LAST_LINES = 12


class Compiled(NamedTuple):
    """A source's kernels.

    Attributes:
        cubin: machine code.
        ptx: what later GPUs' drivers compile; b"" where the architecture's name ends in a letter,
            which makes its PTX of use to no other.
        log: what the assembler says of registers, shared memory and spills.
    """

    cubin: bytes
    ptx: bytes
    log: str


class CudaCompiler(Protocol):
    """Compiles CUDA C++.

    Attributes:
        name: with its version.
    """

    name: str

    def compile(self, source: str, arch: str) -> Compiled:
        """Machine code for ``arch`` (``sm_90``), and PTX.

        Raises:
            ToolError: it refuses the source.
        """


def with_fewest_spills(compile_with: Callable[[list[str]], Compiled]) -> Compiled:
    """What ``compile_with`` makes, given more options of the assembler: none, and where that spills
    :data:`FEWER_REGISTERS`."""
    first = compile_with([])
    if spilled(first.log) == 0:
        return first
    return min(first, compile_with([FEWER_REGISTERS]), key=lambda each: spilled(each.log))


def spilled(log: str) -> int:
    """Bytes that kernels write to memory and read again for want of registers, by the assembler's
    ``log``."""
    return sum(int(stores) + int(loads) for stores, loads in _SPILLS.findall(log))


def refused(compiler: str, log: str) -> ToolError:
    """The error of a compiler that said ``log``."""
    lines = log.strip().splitlines()
    told = [line for line in lines if "error" in line.lower()] or lines
    what = "\n  ".join(["the CUDA compiler failed:", *told[-_LAST_LINES:]])
    return ToolError(what, where=compiler)


def has_later_ptx(arch: str) -> bool:
    """Whether PTX for ``arch`` is of use to later GPUs."""
    return arch[-1].isdigit()


def virtual(arch: str) -> str:
    """``compute_90`` for ``sm_90``."""
    return arch.replace("sm_", "compute_")
