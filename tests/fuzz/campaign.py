"""Reads many mutated inputs and prints what was found, grouped: see README.md.

Exit status: 0 nothing was found, 1 something was.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import worker

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]
#: For one that waits, and uses no processor.
_WALL_SECONDS = 20 * worker.CPU_SECONDS
#: A worker that has read so many is replaced: TVM keeps something of each module.
_INPUTS_EACH = 1000


@dataclass
class Findings:
    """What came of the inputs.

    Attributes:
        verdicts: how many inputs of each kind were read, refused, and so on.
        groups: of each kind, verdict and place, the numbers of the inputs and what the first said.
    """

    verdicts: dict[str, Counter[str]] = field(default_factory=dict)
    groups: dict[tuple[str, str, str], tuple[list[int], str]] = field(default_factory=dict)

    def add(self, kind: str, number: int, answer: dict[str, str]) -> None:
        """Take in one answer."""
        verdict = answer["verdict"]
        self.verdicts.setdefault(kind, Counter())[verdict] += 1
        if verdict not in ("read", "refused"):
            key = (kind, verdict, answer.get("where", ""))
            self.groups.setdefault(key, ([], answer.get("what", "")))[0].append(number)

    def lines(self) -> list[str]:
        """For a person: each kind's counts, then each group with one input to see it again."""
        found = []
        for kind, counts in sorted(self.verdicts.items()):
            parts = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
            found.append(f"{kind}: {sum(counts.values())} inputs: {parts}")
        for (kind, verdict, where), (numbers, what) in sorted(self.groups.items()):
            found.append(f"- {kind}, {verdict}, {len(numbers)} times: {where}")
            found.append(f"    {' '.join(what.split())}")
            shown = ", ".join(map(str, sorted(numbers)[:5]))
            found.append(f"    --kind {kind} --first {shown}")
        return found


class Worker:
    """The process that reads; started again after an input that it didn't survive.

    Args:
        kinds: what it will be asked to read.
        cpu_seconds, wall_seconds: what each input may take.
    """

    def __init__(
        self,
        kinds: Sequence[str] = tuple(worker.KINDS),
        cpu_seconds: float = worker.CPU_SECONDS,
        wall_seconds: float = _WALL_SECONDS,
    ) -> None:
        self._kinds, self._cpu_seconds, self._wall_seconds = kinds, cpu_seconds, wall_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._served = 0

    def ask(self, kind: str, number: int, keep: str = "") -> dict[str, str]:
        """Read one input there."""
        if self._served >= _INPUTS_EACH:
            self.close()
        if self._process is None:
            self._start()
        self._served += 1
        process = self._process
        assert process is not None and process.stdin is not None
        process.stdin.write(f"{kind} {number} {keep}".strip().encode() + b"\n")
        process.stdin.flush()
        line = self._line(self._wall_seconds)
        if line:
            return json.loads(line)
        status = process.poll()
        self.close()
        if status is None:
            return {"verdict": "hang", "what": f"over {self._wall_seconds} s"}
        if status == -signal.SIGPROF:
            return {"verdict": "hang", "what": f"over {self._cpu_seconds} s of the processor"}
        return {"verdict": "crash", "where": f"exit status {status}"}

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process = None

    def _start(self) -> None:
        paths = (_HERE, _ROOT, _ROOT / "tests/tuning/log", os.environ.get("PYTHONPATH"))
        python_path = os.pathsep.join(str(path) for path in paths if path)
        one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TVM_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(_HERE / "worker.py"), str(self._cpu_seconds), *self._kinds],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **one, "PYTHONPATH": python_path},
        )
        self._served = 0
        if not self._line(_WALL_SECONDS):
            raise RuntimeError("the worker did not start: run tests/fuzz/worker.py to see why")

    def _line(self, seconds: float) -> bytes:
        """Its next line; nothing where it ended or took longer."""
        assert self._process is not None and self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return b""
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
        return line


def campaign(inputs: Iterable[tuple[str, int]], jobs: int = 2, progress: bool = False) -> Findings:
    """Read the inputs, each a kind and a number, in ``jobs`` workers."""
    findings = Findings()
    inputs = list(inputs)
    waiting = iter(inputs)
    kinds = sorted({kind for kind, _ in inputs})
    lock = threading.Lock()
    failures: list[Exception] = []
    begin = time.monotonic()

    def work() -> None:
        reader = Worker(kinds)
        try:
            while not failures:
                with lock:
                    following = next(waiting, None)
                if following is None:
                    return
                answer = reader.ask(*following)
                with lock:
                    findings.add(*following, answer)
                    done = sum(sum(counts.values()) for counts in findings.verdicts.values())
                    if progress and done % 500 == 0:
                        print(f"{done} after {time.monotonic() - begin:.0f} s", file=sys.stderr)
        except Exception as error:  # noqa: BLE001 - raised below, in the caller's thread
            failures.append(error)
        finally:
            reader.close()

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return findings


def main() -> int:
    """Run a campaign and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int, help="inputs in all, spread over the kinds")
    parser.add_argument(
        "--kind", choices=sorted({**worker.KINDS, **worker.FRAMEWORKS}), help="only this kind"
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="copy the input's files there (one input)")
    args = parser.parse_args()
    kinds = [args.kind] if args.kind else sorted(worker.KINDS)
    if args.keep:
        findings = Findings()
        reader = Worker(kinds)
        answer = reader.ask(kinds[0], args.first, str(args.keep.resolve()))
        reader.close()
        findings.add(kinds[0], args.first, answer)
    else:
        numbers = range(args.count)
        inputs = ((kinds[i % len(kinds)], args.first + i // len(kinds)) for i in numbers)
        findings = campaign(inputs, args.jobs, progress=True)
    print("\n".join(findings.lines()))
    return int(bool(findings.groups))


if __name__ == "__main__":
    sys.exit(main())
