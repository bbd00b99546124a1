"""Stock MetaSchedule on given kernels: how many trials it makes in a minute.

    python -m benchmarks.tuning.stock KERNELS.json BATCH

runs its tuner, with its own rules, LocalBuilder and LocalRunner, in this process, and prints a line
of JSON after every batch; :func:`stock_rate` runs it for a while and ends it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import environment
from tvmcomp.targets import TargetDescription
from tvmcomp.tuning.task import Task, module_of
from tvmcomp.tvm_import import tvm

#: So many times as long it may take to finish its first batch.
_PATIENCE = 5
_MANY_TRIALS = 1_000_000


@dataclass(frozen=True)
class Rate:
    """What it did.

    Attributes:
        tried: candidates that were built and measured, failures included.
        measured: those that have a time.
        seconds: until the last batch was done.
    """

    tried: int
    measured: int
    seconds: float

    @property
    def a_minute(self) -> float:
        """Trials a minute."""
        return 60 * self.tried / self.seconds


def stock_rate(
    tasks: Sequence[Task], target: TargetDescription, seconds: float, batch: int
) -> Rate:
    """Let it tune ``tasks`` for ``seconds``, or until its first batch is done."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        kernels = Path(folder, "kernels.json")
        modules = [str(tvm.ir.save_json(module_of(task.func))) for task in tasks]
        weights = [task.weight for task in tasks]
        kernels.write_text(json.dumps([target.tvm_target_dict(), modules, weights]))
        errors = stack.enter_context(tempfile.TemporaryFile())
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.tuning.stock", str(kernels), str(batch)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
            env=environment(),
            start_new_session=True,
        )
        timer = threading.Timer(_PATIENCE * seconds, _end, [process])
        timer.start()
        rate = Rate(0, 0, _PATIENCE * seconds)
        assert process.stdout is not None
        for line in process.stdout:
            rate = Rate(**json.loads(line))
            if rate.seconds >= seconds:
                break
        timer.cancel()
        _end(process)
        if process.wait() != -signal.SIGKILL:  # it tunes until it is ended
            errors.seek(0)
            raise RuntimeError(errors.read().decode(errors="replace")[-2000:])
    return rate


def _end(process: subprocess.Popen[str]) -> None:
    """End it with the workers that it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def main(kernels: str, batch: str) -> None:
    """Tune until somebody ends this process."""
    from tvm.ir.utils import derived_object
    from tvm.s_tir import meta_schedule as ms

    Path("work").mkdir()
    target_dict, modules, weights = json.loads(Path(kernels).read_text())
    target = tvm.target.Target(target_dict)
    start = time.monotonic()
    tried = measured = 0

    local = ms.runner.LocalRunner()

    @derived_object
    class Count(ms.runner.PyRunner):
        """The local runner. Its results are counted here: tasks get theirs a round later."""

        def run(self, inputs: Any) -> Any:
            nonlocal tried, measured
            futures = local.run(inputs)
            tried += len(futures)
            measured += sum(future.result().run_secs is not None for future in futures)
            seconds = time.monotonic() - start
            print(
                json.dumps({"tried": tried, "measured": measured, "seconds": seconds}), flush=True
            )
            return futures

    ms.tune.tune_tasks(
        tasks=[
            ms.TuneContext(
                tvm.ir.load_json(module),
                target=target,
                space_generator="post-order-apply",
                search_strategy="evolutionary",
                task_name=f"task {index}",
                num_threads=os.cpu_count(),
            )
            for index, module in enumerate(modules)
        ],
        task_weights=weights,
        work_dir="work",
        max_trials_global=_MANY_TRIALS,
        num_trials_per_iter=int(batch),
        runner=Count(),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
