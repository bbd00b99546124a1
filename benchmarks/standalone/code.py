"""What kernels cost as plain functions of C, beside TVM's own form of them: code, and a build.

    python -m benchmarks.standalone.code NET.onnx [--calibration FILE] [--rounds 3]

TVM makes a kernel a function that unpacks its arguments and, by default, checks them. The scheduled
kernels of one build are compiled in each of the three ways, in turns. Times are the processor's,
the fastest of the rounds; all else that a build does is the same.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import tvmcomp
from tvmcomp.codegen.code_target import code_target, unchecked
from tvmcomp.codegen.native import emit
from tvmcomp.codegen.native.plain_signature import PLAIN
from tvmcomp.codegen.object_files import object_file
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

#: Name -> the context that kernels are compiled in, and TVM's pipeline.
WAYS = {
    "TVM's functions, checked": (nullcontext, None),
    "TVM's functions": (unchecked, None),
    "plain functions of C": (unchecked, PLAIN),
}


def kernels_of_build(model: Path, calibration: Path | None) -> tuple[Any, float]:
    """What a build's kernels are compiled from (functions, target, whether in integers), and the
    seconds of the processor that the build took."""
    compiled: list[tuple[Mapping[str, Any], TargetDescription, bool]] = []
    kernel_object = emit.kernel_object

    def watched(*arguments: Any) -> bytes:
        compiled.append(arguments)
        return kernel_object(*arguments)

    begin = processor_seconds()
    with patch.object(emit, "kernel_object", watched):
        quant = "int8" if calibration else None
        tvmcomp.build(model, quant=quant, calibration=calibration, formats="asked", log="none")
    return compiled[-1], processor_seconds() - begin


def compiled(functions: Mapping[str, Any], target: Any, context: Any, pipeline: Any) -> bytes:
    """The object file of kernels."""
    named = {name: func.with_attr("global_symbol", name) for name, func in functions.items()}
    with context():
        return object_file(tvm.tirx.build(tvm.IRModule(named), target, pipeline))


def code_bytes(data: bytes) -> int:
    """The machine code in an object file, as binutils' ``size`` has it."""
    with tempfile.NamedTemporaryFile(suffix=".o") as file:
        file.write(data)
        file.flush()
        done = subprocess.run(
            ["size", "--format=sysv", file.name], check=True, capture_output=True, text=True
        )
    rows = (line.split() for line in done.stdout.splitlines() if line.startswith(".text"))
    return sum(int(row[1]) for row in rows)


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(os.times()[:4])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--calibration", type=Path, help="samples: then it is built in int8")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    (functions, target, in_integers), whole = kernels_of_build(chosen.model, chosen.calibration)
    own = code_target(target, in_integers)
    seconds = dict.fromkeys(WAYS, float("inf"))
    sizes = dict.fromkeys(WAYS, 0)
    for _ in range(chosen.rounds):
        for name, (context, pipeline) in WAYS.items():
            begin = processor_seconds()
            code = compiled(functions, own, context, pipeline)
            seconds[name] = min(seconds[name], processor_seconds() - begin)
            sizes[name] = code_bytes(code)
    *_, plain = WAYS
    print(f"{len(functions)} kernels; the whole build takes {whole:.1f} s of the processor")
    for name in WAYS:
        build = whole - seconds[plain] + seconds[name]
        print(
            f"{name:26} {sizes[name]:9} bytes of code ({sizes[plain] / sizes[name]:.2f}), "
            f"compiled in {seconds[name]:6.2f} s; a build {build:6.1f} s ({whole / build:.2f})"
        )


if __name__ == "__main__":
    main()
