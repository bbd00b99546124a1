"""What a compiled network's runtime in C costs: a call, and a loop that threads share.

    python -m benchmarks.standalone.barriers [--threads 1,2,4] [--repeats 30]

A call is that of a network of one operator on four numbers. A loop's work is what one thread needs
for it; ideally `threads` of them, or as many as there are cores, need that much less. What a loop
takes beyond that is the barrier. All times are the best of the repeats: other programs only add.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tvmcomp.codegen import cruntime

SOURCE = Path(__file__).with_suffix(".c")


def build(folder: Path) -> Path:
    """Compile the program for this machine."""
    program = folder / "barriers"
    command = [sys.executable, "-m", "ziglang", "cc", "-std=c11", "-O2", "-pthread"]
    include = f"-I{cruntime.include_folder()}"
    sources = map(str, (SOURCE, *cruntime.sources()))
    subprocess.run([*command, include, *sources, "-o", str(program)], check=True)
    return program


def report(threads: int, lines: list[dict[str, float]]) -> None:
    """Print one table row for each measurement."""
    at_once = min(threads, len(os.sched_getaffinity(0)))
    for line in lines:
        if line["what"] == "call":
            print(f"{threads} threads: a call of a tiny operator {line['ns']:8.1f} ns")
            continue
        ideal = line["work_us"] * 1000 / at_once
        print(
            f"{threads} threads: a loop of {line['work_us']:3} us of work {line['ns']:10.0f} ns, "
            f"{line['ns'] - ideal:8.0f} ns beyond the ideal"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", default="1,2,4", help="numbers of threads")
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder))
        for threads in map(int, options.threads.split(",")):
            command = [str(program), str(threads), str(options.repeats)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            report(threads, [json.loads(line) for line in done.stdout.splitlines()])


if __name__ == "__main__":
    main()
