"""Made-up records; used by tests, by processes that they start, by benchmarks/tuning/logs.py."""

from __future__ import annotations

import hashlib

import msgspec

from tvmcomp.targets import TargetDescription
from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.tuning.log.line import Entry, encode
from tvmcomp.tuning.log.record import Argument, Target, Trial, Versions, Workload

SKYLAKE = TargetDescription(
    name="skylake",
    description="",
    family="x86",
    triple="x86_64-linux-gnu",
    features=("avx2", "fma"),
    cores=4,
    vector_bits=256,
    dot_product="pmaddwd",
)
AMX = msgspec.structs.replace(
    SKYLAKE, name="amx", features=("amx-int8", "avx2", "fma"), dot_product="amx_int8"
)
PI = TargetDescription(
    name="pi",
    description="",
    family="arm",
    triple="aarch64-linux-gnu",
    features=("dotprod", "neon"),
    cores=4,
    dot_product="sdot",
)
DESKTOP = Fingerprint(cpu="Desktop 9000", features=("avx2", "fma"), cores=4)
LAPTOP = Fingerprint(cpu="Laptop 7", features=("avx2", "fma"), cores=2)
VERSIONS = Versions("0.1.0", "0.27.0", "22")


def workload(index: int) -> str:
    """The hash of a made-up workload, spread like real ones."""
    return hashlib.sha256(str(index).encode()).hexdigest()[:16]


def trial(index: int = 0, seconds: float = 1e-3, target=SKYLAKE, device=DESKTOP, **fields) -> Trial:
    """A trial of workload ``index``."""
    fields.setdefault("run_secs", (seconds,))
    fields.setdefault("trace", [[["GetSBlock", [], ["y", "main"], ["b0"]]], [[0, index]]])
    fields.setdefault("date", "2026-11-22T00:00:00+00:00")
    return Trial(
        workload=Workload(workload(index), f"kernel_{index}", (Argument("float32", (1, 64)),)),
        target=Target.of(target),
        versions=VERSIONS,
        device=device,
        **fields,
    )


def records(count: int, workloads: int = 8, start: int = 0) -> list[Entry]:
    """``count`` different entries, spread over ``workloads``."""
    trace = [["GetSBlock", [], ["y", "main"], ["b0"]]]
    return [
        Entry(encode(trial(index % workloads, (index + 1) * 1e-6, trace=[trace, [[0, index]]])))
        for index in range(start, start + count)
    ]
