"""Reports of networks that there are not: large ones, and ones with hostile names."""

from __future__ import annotations

import random

from tvmcomp.model import UsedRecord
from tvmcomp.report.compare import Change
from tvmcomp.report.html.document import (
    Candidate,
    Command,
    Fact,
    Front,
    Goals,
    KernelRow,
    Latencies,
    OperatorRow,
    Report,
    Roof,
)

HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 1">',
    "{{ 7 * 7 }}{% raw %}<!--<script>",
    "line\u2028paragraph\u2029tab\t",
    "=HYPERLINK(1)",
    "' onclick='window.hacked = 1",
)


def operator_name(index: int) -> str:
    """Every tenth is hostile."""
    if index % 10 == 9:
        return HOSTILE[index // 10 % len(HOSTILE)]
    return f"model_features_{index}_block_conv_{index}"


def large_report(operators: int = 500) -> Report:
    """A chain with a residual edge at every fifth operator; of a search with 40 candidates."""
    draw = random.Random(0)
    return Report(
        title=HOSTILE[0],
        made="2026-01-01 00:00 UTC",
        tvmcomp="0.1.0",
        summary=("The first sentence.", HOSTILE[1]),
        before="before.tvmc",
        after=HOSTILE[1],
        changes=(
            Change("artifact file", 2e3, 1e3, "2.0 KiB", "1.0 KiB", "2.00 times less", "better"),
            Change("p50 latency", 1.0, 1.5, "1 ms", "1.5 ms", "1.500 of the time", "worse"),
        ),
        measuring=("Measured in turns.",),
        inputs=(HOSTILE[0],),
        operators=tuple(_operator(index, draw) for index in range(operators)),
        kernels=tuple(_kernel(index, draw) for index in range(operators // 5)),
        roofs=(Roof("int8", 200.0, 100.0), Roof("float32", 50.0, 100.0)),
        roofs_from="An estimate.",
        latencies=tuple(_latencies(name, draw) for name in ("before.tvmc", "after.tvmc")),
        front=_front(draw),
        samples=(Fact("Calibration", "256 samples"), Fact("Judged on", HOSTILE[2])),
        device=(Fact("Built for", "native"),),
        notes=(HOSTILE[3],),
        commands=(Command("Built by", "tvmcomp build 'a b.onnx'"),),
    )


def _operator(index: int, draw: random.Random) -> OperatorRow:
    timed = index % 2 == 0
    return OperatorRow(
        name=operator_name(index),
        kind="nn.conv2d" if timed else "nn.relu",
        format="int8" if index % 7 else "float32",
        why="rounded to 8 bits" if index % 7 else "kept in float by the accuracy guard",
        was="float32",
        ms=draw.uniform(0.01, 1.0) if timed else None,
        share=2 / 500 if timed else None,
        within=None if timed else index - 1,
        kernel=f"fused_kernel_{index // 5}",
        macs=1_000_000 * index,
        sqnr_db=draw.uniform(20, 50),
        network_sqnr_db=draw.uniform(20, 50) if index % 3 else None,
        record=UsedRecord("0123456789abcdef", 1e-4, "2026-01-01", "same device") if timed else None,
        inputs=tuple({index - 1, *([index - 5] if index % 5 == 0 and index > 5 else [])}),
    )


def _kernel(index: int, draw: random.Random) -> KernelRow:
    return KernelRow(
        name=f"fused_kernel_{index}" if index else HOSTILE[0],
        format="int8" if index % 2 else "float32",
        calls=2,
        macs=1_000_000 * (index % 4),
        bytes=100_000,
        ms=draw.uniform(0.01, 1.0),
        share=0.01,
        rate=draw.uniform(1, 40) if index % 4 else None,
        intensity=10.0 * (index % 4) or None,
        of_roof=0.5 if index % 4 else None,
    )


def _latencies(name: str, draw: random.Random) -> Latencies:
    times = tuple(draw.lognormvariate(0, 0.2) for _ in range(1000))
    return Latencies(name, "this machine", 2, 1000, 1.0, 1.6, min(times), times)


def _front(draw: random.Random) -> Front:
    candidates = tuple(
        Candidate(
            name=f"c{index}",
            label=HOSTILE[index % len(HOSTILE)]
            if index % 10 == 0
            else f"int8, {index}% of channels",
            technique=("int8", "channels", "mixed")[index % 3],
            p50_ms=1 + index / 10,
            p99_ms=2 + index / 10,
            artifact_bytes=100_000 + 1000 * index,
            score=90 + index / 10 + draw.uniform(-1, 0),
            score_low=88 + index / 10,
            score_high=91 + index / 10,
            on_front=index % 4 == 0,
            decisions=(("rank", HOSTILE[0]),),
        )
        for index in range(40)
    )
    original = Candidate("original", p50_ms=6.0, score=95.0, artifact_bytes=1 << 20)
    goals = Goals(max_drop=0.5, max_latency_ms=4.0)
    return Front("top1", "%", goals, original, candidates, "c8", ("channels", "int8", "mixed"))
