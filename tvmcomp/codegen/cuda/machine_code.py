"""What a CUDA compiler made of kernels: registers, shared memory, spills, and their instructions.

Read off the assembler's log, the PTX and the machine code, so that no GPU is needed.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path
from shutil import which
from typing import NamedTuple

from tvmcomp.codegen.cuda.compiler import Compiled
from tvmcomp.errors import ToolError
from tvmcomp.nvidia_packages import nvidia_file
from tvmcomp.temporary_folder import temporary_folder

_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")
_PTX_ENTRY = re.compile(r"\.entry\s+(\w+)\s*\(")
_PTX_THREADS = re.compile(r"\.maxntid\s+(\d+)(?:\s*,\s*(\d+))?(?:\s*,\s*(\d+))?")
_SASS_KERNEL = re.compile(r"\.text\.(\w+):")
#: An instruction, after its guard: ``/*0010*/ @!P0 HMMA.16816.F32 R4, …``.
_SASS_INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?\w+\s+)?([A-Z][\w.]*)")
_PTX_INSTRUCTION = re.compile(r"^\s*(?:@!?%\w+\s+)?([a-z][\w.:]*)[\s;]", re.MULTILINE)

#: Kinds of instructions that the tables name -> what machine code and PTX call them.
KINDS: dict[str, tuple[str, ...]] = {
    "tensor": ("HMMA", "IMMA", "HGMMA", "IGMMA", "mma.sync", "wmma.mma", "wgmma.mma_async"),
    "async copy": ("LDGSTS", "UBLKCP", "cp.async.ca", "cp.async.cg", "cp.async.bulk"),
    "ldmatrix": ("LDSM", "ldmatrix"),
    "dp4a": ("IDP", "dp4a"),
}


class Resources(NamedTuple):
    """What a kernel takes.

    Attributes:
        registers: of a thread.
        shared: bytes of shared memory of a block that are known when it is compiled.
        spilled: bytes written to memory and read again for want of registers.
        threads: of a block, at most; 0 where the source does not tell.
    """

    registers: int
    shared: int
    spilled: int
    threads: int


def resources(compiled: Compiled) -> dict[str, Resources]:
    """Of each kernel, by name."""
    threads = _threads(compiled.ptx.decode(errors="replace"))
    found = {}
    parts = _ENTRY.split(compiled.log)[1:]
    for name, said in zip(parts[::2], parts[1::2], strict=True):
        spills = _SPILLS.search(said)
        registers, shared = _REGISTERS.search(said), _SHARED.search(said)
        found[name] = Resources(
            int(registers[1]) if registers else 0,
            int(shared[1]) if shared else 0,
            int(spills[2]) + int(spills[3]) if spills else 0,
            threads.get(name, 0),
        )
    return found


def instructions(compiled: Compiled) -> dict[str, Counter[str]]:
    """Of each kernel how often each instruction occurs: of the machine code where nvdisasm is
    here, else of the PTX.
    """
    tool = which("nvdisasm") or nvidia_file("bin/nvdisasm")
    if tool is not None:
        return _counted(_disassembled(compiled.cubin, str(tool)), _SASS_KERNEL, _SASS_INSTRUCTION)
    return _counted(compiled.ptx.decode(errors="replace"), _PTX_ENTRY, _PTX_INSTRUCTION)


def of_kind(counted: Counter[str], kind: str) -> Counter[str]:
    """Those of :data:`KINDS`."""
    return Counter({name: n for name, n in counted.items() if name.startswith(KINDS[kind])})


def _threads(ptx: str) -> dict[str, int]:
    found = {}
    parts = _PTX_ENTRY.split(ptx)[1:]
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        bound = _PTX_THREADS.search(body.partition("{")[0])
        if bound:
            x, y, z = (int(n or 1) for n in bound.groups())
            found[name] = x * y * z
    return found


def _counted(text: str, kernel: re.Pattern, instruction: re.Pattern) -> dict[str, Counter[str]]:
    parts = kernel.split(text)[1:]
    return {
        name: Counter(instruction.findall(body))
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


def _disassembled(cubin: bytes, tool: str) -> str:
    with temporary_folder("cuda") as folder:
        path = Path(folder, "kernels.cubin")
        path.write_bytes(cubin)
        done = subprocess.run([tool, "-c", str(path)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ToolError(f"nvdisasm: {done.stderr.strip()[:200]}", where=tool)
    return done.stdout
