"""The inner loops of compiled ARM kernels, and llvm-mca's answer to how fast they run.

llvm-mca simulates a loop on LLVM's scheduling model of a core: dispatch width, execution ports,
latencies, chains through registers from one iteration to the next. It takes every load to hit the
L1 cache and every branch to be predicted, so what it says is an upper bound.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: Where the program is looked for, after $LLVM_MCA. Older versions lack some cores' models.
PROGRAMS = ("llvm-mca-19", "llvm-mca-20", "llvm-mca-21", "llvm-mca-18")

#: LLVM gives some cores another core's model; their server twin's is the exact one.
MODELS = {"cortex-a76": "neoverse-n1", "cortex-a78": "neoverse-n1", "": "cortex-a53"}

#: Multiply-accumulates of one instruction: (mnemonic, arrangement of its first operand) -> number.
#: ``smull`` counts and the ``sadalp`` after it, which adds up its products, does not.
_MACS = {
    **{(name, "4s"): 4 for name in ("fmla", "smlal", "smlal2")},
    **{(name, "8h"): 8 for name in ("fmla", "smull", "smull2", "smlal", "smlal2")},
    **{(name, "4s"): 16 for name in ("sdot", "udot", "usdot")},
    **{(name, "4s"): 32 for name in ("smmla", "ummla", "usmmla")},
}

#: What a core multiplies its best with, by the target's feature: an instruction on register {0}.
_BEST_INT8 = (
    ("i8mm", "smmla v{0}.4s, v30.16b, v31.16b", 32),
    ("dotprod", "sdot v{0}.4s, v30.16b, v31.4b[0]", 16),
    ("neon", "smull v{0}.8h, v30.8b, v31.8b", 8),
)
_BEST_FLOAT = ("fmla v{0}.4s, v30.4s, v31.s[0]", 4)
_INDEPENDENT = 24
_ITERATIONS = 100


class McaError(Exception):
    """llvm-mca is missing, or does not understand what it is given."""


@dataclass(frozen=True)
class Loop:
    """An innermost loop.

    Attributes:
        lines: its instructions, the branch back included.
        macs: multiply-accumulates of an iteration.
    """

    lines: tuple[str, ...]
    macs: int

    @property
    def weight(self) -> float:
        """Ranks a kernel's loops: many multiply-accumulates, and little else beside them.

        The transforms of Winograd's convolution multiply too, between loads and stores.
        """
        return self.macs**2 / len(self.lines)


def program() -> str:
    """The path of llvm-mca.

    Raises:
        McaError: it is not installed.
    """
    for name in (os.environ.get("LLVM_MCA", ""), *PROGRAMS):
        if found := shutil.which(name):
            return found
    raise McaError(
        "llvm-mca 19 or newer is not installed: `apt-get install llvm-19`; or without root "
        "`apt-get download llvm-19 libllvm19`, `dpkg -x` each into a folder, and name "
        "FOLDER/usr/lib/llvm-19/bin/llvm-mca in $LLVM_MCA (its libraries in $LD_LIBRARY_PATH)"
    )


def functions(assembly: str) -> Iterator[tuple[str, list[str]]]:
    """Each function of an assembly file: its name, and its labels and instructions."""
    name, body = "", []
    for line in assembly.splitlines():
        text = line.split("//")[0].strip()
        if match := re.fullmatch(r"([A-Za-z_.$][\w.$]*):", text):
            label = match.group(1)
            if not label.startswith((".LBB", ".Ltmp", ".Lfunc", ".Ldebug", ".Lloh")):
                if body:
                    yield name, body
                name, body = label, []
                continue
            if label.startswith(".LBB"):
                body.append(text)
        elif text and not text.startswith("."):
            body.append(text)
    if body:
        yield name, body


def hottest_loop(body: list[str]) -> Loop | None:
    """The innermost loop of a function that does most of its multiply-accumulates.

    Where the reduction is unrolled as a whole this is the loop over blocks of pixels, with the
    epilogue in it. None where there is no loop.
    """
    at = {line[:-1]: i for i, line in enumerate(body) if line.endswith(":")}
    spans = []
    for end, line in enumerate(body):
        target = re.search(r"(\.LBB\w+)$", line)
        start = at.get(target.group(1)) if target and not line.endswith(":") else None
        if start is not None and start < end:
            spans.append((start, end))
    best = None
    for start, end in spans:
        inner = [(s, e) for s, e in spans if start <= s and e <= end and (s, e) != (start, end)]
        if any(_total(body[s : e + 1]) for s, e in inner):
            continue
        # A loop inside without any (of the epilogue, behind an unrolled reduction) is left out.
        kept = [i for i in range(start, end + 1) if not any(s <= i <= e for s, e in inner)]
        lines = tuple(body[i] for i in kept if not body[i].endswith(":"))
        found = Loop(lines, _total(lines))
        if found.macs and (best is None or found.weight > best.weight):
            best = found
    return best


def _total(lines: Iterable[str]) -> int:
    return sum(map(_macs, lines))


def _macs(line: str) -> int:
    match = re.match(r"(\w+)\s+v\d+\.(\w+)", line)
    return _MACS.get((match.group(1), match.group(2)), 0) if match else 0


def macs_per_cycle(loop: Loop, cpu: str) -> float:
    """Multiply-accumulates a cycle of ``loop``, over and over, on ``cpu`` (LLVM's name)."""
    return loop.macs / _cycles("\n".join(loop.lines), cpu)


@cache
def peak(cpu: str, integer: bool, features: tuple[str, ...]) -> float:
    """The most multiply-accumulates a cycle that the model of ``cpu`` can do, of int8 or float.

    Measured with independent instructions of the kind that does most at once.
    """
    text, macs = _BEST_FLOAT
    if integer:
        _, text, macs = next(best for best in _BEST_INT8 if best[0] in features)
    block = [text.format(i) for i in range(_INDEPENDENT)]
    return len(block) * macs / _cycles("\n".join(block), cpu)


@cache
def _cycles(assembly: str, cpu: str) -> float:
    """Cycles that one iteration of ``assembly`` takes in the long run."""
    # The first iterations fill the pipeline: only what the later ones add counts.
    return (_simulated(assembly, cpu, 2 * _ITERATIONS) - _simulated(assembly, cpu, _ITERATIONS)) / (
        _ITERATIONS
    )


def _simulated(assembly: str, cpu: str, iterations: int) -> int:
    """Cycles that ``iterations`` of ``assembly`` take."""
    model = MODELS.get(cpu, cpu)
    options = ("-mtriple=aarch64-linux-gnu", f"-mcpu={model}", "-mattr=+dotprod,+i8mm,+fullfp16")
    done = subprocess.run(
        [program(), *options, f"-iterations={iterations}", "-json"],
        input=assembly + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise McaError(f"llvm-mca for {model}: {done.stderr.strip()[:400]}")
    # What is printed before the document are warnings about the assembly.
    document = json.loads(done.stdout[done.stdout.index("{") :])
    return int(document["CodeRegions"][0]["SummaryView"]["TotalCycles"])


def which_model(cpu: str) -> str:
    """The core whose model stands for ``cpu``."""
    return MODELS.get(cpu, cpu)


def save(loop: Loop, path: Path) -> None:
    """Write ``loop`` as an assembly file, to look at or to give to llvm-mca by hand."""
    path.write_text("\n".join(loop.lines) + "\n")
