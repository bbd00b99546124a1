"""Cases in batches of one operator set, and a batch checked in a process of its own."""

from __future__ import annotations

import json
import os
import resource
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from operator_cases.check import failures
from operator_cases.draw import GENERATORS, Case, draw, opsets_of

#: Cases in one network.
_BATCH = 60


def batches(count: int, seed: int, operators: Sequence[str] = ()) -> Iterator[list[Case]]:
    """About ``count`` cases, as many of each operator, spread over the versions of each."""
    chosen = list(operators) or sorted(GENERATORS)
    by_opset: dict[int, list[Case]] = defaultdict(list)
    for number in range(max(count // len(chosen), 1)):
        for operator in chosen:
            opsets = opsets_of(operator)
            # The newest version first, for it is what most models use.
            opset = opsets[-1 - number % len(opsets)]
            by_opset[opset].append(draw(operator, opset, 1000 * seed + number))
    for _, cases in sorted(by_opset.items()):
        for begin in range(0, len(cases), _BATCH):
            yield cases[begin : begin + _BATCH]


def check_in_child(cases: list[Case], folder: Path, seconds: int = 120) -> dict[str, str]:
    """:func:`failures` in a process of its own, one for each half where that process dies or
    works for longer than ``seconds``."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            with os.fdopen(writer, "w") as pipe:
                json.dump(failures(cases, folder), pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    ended = os.waitpid(child, 0)[1]
    if ended == 0:
        return dict(json.loads(answer))
    if len(cases) == 1:
        return {cases[0].describe(): f"the process ends with {os.waitstatus_to_exitcode(ended)}"}
    half = len(cases) // 2
    return {
        **check_in_child(cases[:half], folder, seconds),
        **check_in_child(cases[half:], folder, seconds),
    }
