"""Reads inputs one by one, each under limits, and says how each went; an input may kill it.

    python worker.py SECONDS KIND [KIND…]

It is told ``kind number`` a line, and answers each with a line of JSON. What libraries print goes
to its standard error. Time is the processor's, so that a busy machine finds nothing; a reader that
sleeps is left to who started it.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from random import Random

#: Module of each kind: what it has of ``make(rng, folder) -> path`` and ``read(path)``.
KINDS = {
    "artifact": "artifacts",
    "onnx": "onnx_files",
    "log": "logs",
    "samples": "samples",
    "tflite": "tflite_files",
    "toml": "tomls",
}
#: Of files that a framework reads, one in a worker: it is not loaded beside TVM or another.
FRAMEWORKS = {
    "h5": "hdf5_files",
    "keras": "keras_zips",
    "pt2": "pt2_files",
    "savedmodel": "saved_model_files",
}
CPU_SECONDS = 10
MEMORY_MIB = 1024
_MODULES = {**KINDS, **FRAMEWORKS}


def run(
    kind: str, number: int, keep: Path | None = None, seconds: float = CPU_SECONDS
) -> dict[str, str]:
    """Make and read one input, in so many seconds of the processor: what came of it, and where."""
    from tvmcomp.errors import TvmcompError

    module = importlib.import_module(_MODULES.get(kind, kind))
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        try:
            path = module.make(Random(f"{kind} {number}"), folder)
        except Exception as error:  # noqa: BLE001
            what = f"{type(error).__name__}: {error}"[:300]
            return {"verdict": "not made", "what": what, "where": _place(error)}
        if keep is not None:
            shutil.copytree(folder, keep, symlinks=True, dirs_exist_ok=True)
        before = _memory_mib("VmRSS:")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        signal.setitimer(signal.ITIMER_PROF, seconds)  # kills: nothing handles it
        try:
            module.read(path)
            answer = {"verdict": "read"}
        except TvmcompError as error:
            str(error)
            answer = {"verdict": "refused"}
        except AssertionError as error:
            answer = {"verdict": "wrong", "what": str(error)[:300], "where": _place(error)}
        except Exception as error:  # noqa: BLE001 - what must not come
            what = f"{type(error).__name__}: {error}"[:300]
            answer = {"verdict": "internal error", "what": what, "where": _place(error)}
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        grown = _memory_mib("VmHWM:") - before
        if grown > MEMORY_MIB and answer["verdict"] in ("read", "refused"):
            answer = {"verdict": "memory", "what": f"{grown} MiB", "where": answer["verdict"]}
        return answer
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _place(error: BaseException) -> str:
    """The last line of the product that it went through, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/tvmcomp/" in frame.filename] or frames
    shown = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in (ours[-1], frames[-1])]
    return " < ".join(dict.fromkeys(shown))


def _memory_mib(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition(field)[2].split()[0]) >> 10


def main() -> None:
    """Serve until the standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seconds, *kinds = sys.argv[1:]
    for kind in kinds:  # what is loaded at first is no input's memory or time
        module = importlib.import_module(_MODULES.get(kind, kind))
        getattr(module, "warm_up", lambda: None)()
    limit = (_memory_mib("VmSize:") + 4 * MEMORY_MIB) << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        kind, number, *keep = line.rstrip("\n").split(" ", 2)
        answer = run(kind, int(number), Path(keep[0]) if keep else None, float(seconds))
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
