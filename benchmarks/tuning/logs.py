"""How fast a tuning log is with a million records: look-up, and merge of two logs.

    python -m benchmarks.tuning.logs all --kind folder
    python -m benchmarks.tuning.logs all --kind sqlite
    python -m benchmarks.tuning.logs all --kind postgresql

``make-a``, ``make-b``, ``look`` and ``merge`` are the steps of ``all``. Two logs of RECORDS each
are made; half of the second one's are in the first one, too. WORKLOADS kernels share them. Each
look-up is the first of its workload in a log that was opened just before; what the operating
system keeps of the files in memory, it keeps. PostgreSQL is Debian's, started for the run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.processes import ROOT
from tvmcomp.targets import TargetDescription
from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.tuning.log.line import Entry, encode
from tvmcomp.tuning.log.merge import merge
from tvmcomp.tuning.log.places import open_store
from tvmcomp.tuning.log.record import Argument, Target, Trial, Versions, Workload
from tvmcomp.tuning.log.store import Store, bucket_of
from tvmcomp.tuning.log.tuning_log import TuningLog

FEATURES = tuple(f"feature-{index}" for index in range(27))
TARGET = TargetDescription(
    "bench", "", "x86", "x86_64-linux-gnu", features=FEATURES, cores=2, vector_bits=512
)
DEVICE = Fingerprint("Benchmark CPU", FEATURES, 2)


def workload(index: int) -> str:
    """The hash of a made-up workload."""
    return hashlib.sha256(str(index).encode()).hexdigest()[:16]


def template() -> str:
    """A line as long as those of real tuning; what differs begins with @."""
    instructions = [["Split", ["l2", "v5", "v6"], [True, False], ["l9", "l10"]]] * 24
    trial = Trial(
        workload=Workload("0" * 16, "fused_conv2d_add_relu", (Argument("float32", (1, 64)),) * 3),
        target=Target.of(TARGET),
        device=DEVICE,
        versions=Versions("0.1.0", "0.27.0", "22"),
        date="2026-11-22T00:00:00+00:00",
        trace=[instructions, [[4, "@decision"], [6, [2, 8, 4, 1]]]],
        run_secs=(0.5, 0.25, 0.125, 0.0625, 0.03125),
    )
    text = encode(trial).decode()
    return text.replace("0" * 16, "@workload").replace("0.5,", "@time,")


def lines(first: int, count: int, workloads: int) -> Iterator[list[bytes]]:
    """The records from ``first`` on, those of a bucket at a time."""
    by_bucket: dict[str, list[int]] = {}
    for index in range(workloads):
        by_bucket.setdefault(bucket_of(workload(index)), []).append(index)
    line = template()
    for indices in by_bucket.values():
        texts = []
        for index in indices:
            mine = line.replace("@workload", workload(index))
            for number in range(first + (index - first) % workloads, first + count, workloads):
                text = mine.replace("@decision", str(number)).replace("@time", f"{number + 1}e-9")
                texts.append(text.encode())
        yield texts


def make(store: Store, first: int, count: int, workloads: int) -> None:
    """Write the records from ``first`` on."""
    start = time.perf_counter()
    added = size = 0
    for texts in lines(first, count, workloads):
        added += store.add([Entry(text) for text in texts])
        size += sum(map(len, texts))
    seconds = time.perf_counter() - start
    store.close()
    print(f"{store.where}: {added} records, {size / 2**30:.2f} GiB, written in {seconds:.1f} s")


def look(location: str, workloads: int, times: int) -> dict[str, float]:
    """Time look-ups of random workloads."""
    choose = random.Random(0)
    taken = []
    for _ in range(times):
        first, wanted = (workload(choose.randrange(workloads)) for _ in range(2))
        log = TuningLog([open_store(location)])
        log.best(first, TARGET, DEVICE)  # connects, and lists the folder
        start = time.perf_counter()
        found = log.best(wanted, TARGET, DEVICE)
        taken.append((time.perf_counter() - start) * 1e3)
        assert found is not None and found.record.workload.hash == wanted
        log.close()
    taken.sort()
    median, late, slowest = statistics.median(taken), taken[int(0.95 * times)], taken[-1]
    print(
        f"{location}: {times} look-ups, median {median:.2f} ms, 95% under {late:.2f} ms, "
        f"slowest {slowest:.2f} ms"
    )
    return {"lookup_ms_median": median, "lookup_ms_p95": late, "lookup_ms_max": slowest}


def join(source: str, into: str) -> dict[str, float]:
    """Time a merge."""
    start = time.perf_counter()
    first, second = open_store(source), open_store(into)
    merged = merge(first, second)
    seconds = time.perf_counter() - start
    print(f"{merged.added} of {merged.read} records merged in {seconds:.1f} s into {into}")
    assert not first.problems and not second.problems
    first.close()
    second.close()
    return {"merge_seconds": seconds, "merge_read": merged.read, "merge_added": merged.added}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tuning.logs", description=__doc__.splitlines()[0]
    )
    parser.add_argument("step", choices=["make-a", "make-b", "look", "merge", "all"])
    parser.add_argument("--kind", choices=["folder", "sqlite", "postgresql"], default="folder")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/tvmcomp-logs"))
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--workloads", type=int, default=15_625)
    parser.add_argument("--lookups", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with ExitStack() as stack:
        if args.kind == "postgresql":
            places = stack.enter_context(two_databases())
        else:
            suffix = {"folder": "", "sqlite": ".db"}[args.kind]
            places = [str(args.folder / f"{name}{suffix}") for name in "ab"]
        report = run(args, places)
    if args.json:
        print(json.dumps(report))


@contextmanager
def two_databases() -> Iterator[list[str]]:
    """The addresses of two empty databases of a server that runs for so long."""
    sys.path.insert(0, str(ROOT / "tests/tuning/log"))
    import sqlalchemy
    from postgresql_server import postgresql

    with postgresql() as first:
        address = first.replace("postgresql://", "postgresql+psycopg://")
        engine = sqlalchemy.create_engine(address, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("CREATE DATABASE other"))
        engine.dispose()
        yield [first, first.replace("/postgres?", "/other?")]


def run(args: argparse.Namespace, places: list[str]) -> dict[str, float]:
    """Do the steps that are asked for, in these two stores."""
    report: dict[str, float] = {"records": args.records, "workloads": args.workloads}
    for step, first in (("make-a", 0), ("make-b", args.records // 2)):
        if args.step in (step, "all"):
            store = open_store(places[step == "make-b"])
            make(store, first, args.records, args.workloads)
    if args.step in ("look", "all"):
        report |= look(places[0], args.workloads, args.lookups)
    if args.step in ("merge", "all"):
        report |= join(places[1], places[0])
    return report


if __name__ == "__main__":
    main()
