"""What CUDA's compiler makes of a network's kernels, on each architecture: read with no GPU."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.cuda.builds import build_for_gpu
from tvmcomp import targets
from tvmcomp.arguments import Quant
from tvmcomp.codegen.cuda import machine_code
from tvmcomp.codegen.cuda.compiler import Compiled
from tvmcomp.targets.gpu_limits import occupancy

#: A target of each architecture.
TARGETS = ("t4", "a100", "jetson-orin", "rtx4090", "h100")

_FUNCTION = re.compile(r"^    def (\w+)\(", re.MULTILINE)
_LAUNCHED_WITH = re.compile(r'alloc_buffer\(\((\d+),\), "uint8", scope="shared\.dyn"')


class KernelRow(NamedTuple):
    """One kernel on one target.

    Attributes:
        target, quant, name: which.
        registers, shared, spilled, threads: see
            :class:`~tvmcomp.codegen.cuda.machine_code.Resources`.
        occupancy: resident warps as a share of those that there could be; 0 where the threads of a
            block are not known.
        instructions: how often each instruction of :data:`KINDS` occurs.
    """

    target: str
    quant: str
    name: str
    registers: int
    shared: int
    spilled: int
    threads: int
    occupancy: float
    instructions: dict[str, int]


def rows_of(
    model: Path, names: Sequence[str] = TARGETS, quants: Sequence[Quant | None] = ("fp16",)
) -> Iterator[KernelRow]:
    """Build ``model`` for each target and precision, and read its kernels.

    bf16 is left out where a target has none.
    """
    for name in names:
        target = targets.load(name)
        for quant in quants:
            if quant == "bf16" and not target.bfloat16:
                continue
            compiled, launched = _compiled(model, target, quant)
            counted = machine_code.instructions(compiled)
            for kernel, taken in sorted(machine_code.resources(compiled).items()):
                taken = taken._replace(shared=taken.shared + launched.get(kernel, 0))
                share = 0.0
                if taken.threads:
                    of_a_block = taken.threads, taken.registers, taken.shared
                    share = occupancy(target.capability, *of_a_block)
                found = {
                    instruction: number
                    for kind in machine_code.KINDS
                    for instruction, number in machine_code.of_kind(counted[kernel], kind).items()
                }
                yield KernelRow(target.name, quant or "float32", kernel, *taken, share, found)


def _compiled(
    model: Path, target: targets.TargetDescription, quant: Quant | None
) -> tuple[Compiled, dict[str, int]]:
    """What became of the kernels, and the shared memory that each is launched with."""
    with TemporaryDirectory(prefix="tvmcomp-cuda-") as folder:
        build_for_gpu(model, target, quant, dump=Path(folder))
        parts = (next(Path(folder).glob(f"*kernels.{each}")) for each in ("cubin", "ptx", "log"))
        cubin, ptx, log = (part.read_bytes() for part in parts)
        scheduled = next(Path(folder).glob("*_schedule.py")).read_text()
        return Compiled(cubin, ptx, log.decode()), launched_with(scheduled)


def launched_with(scheduled: str) -> dict[str, int]:
    """Kernel -> bytes of shared memory that its launch asks for, by the TVMScript of its function.

    What a kernel declares itself the assembler reports; this it does not see.
    """
    parts = _FUNCTION.split(scheduled)[1:]
    return {
        f"{name}_kernel": sum(map(int, _LAUNCHED_WITH.findall(body)))
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }
