"""The rows of a report's operators and kernels, with the times of a profile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tvmcomp.artifact.metadata import Metadata
from tvmcomp.model import KernelWork, Operator
from tvmcomp.report.html.document import KernelRow, OperatorRow, Roof
from tvmcomp.tuning.peaks import Peaks

#: Kernel -> ms of each of its calls in one inference.
Calls = Mapping[str, Sequence[float]]
#: What 8-bit and bfloat16 tensors are to kernels, and to a person.
_SHOWN = {"uint8": "int8", "uint16": "bfloat16"}


def operator_rows(
    metadata: Metadata, calls: Calls, was: Mapping[str, str] | None
) -> tuple[OperatorRow, ...]:
    """The operators, each with the time of the kernel calls that compute it.

    Where a call computes several, the one with most products has its time, and the others say so.

    Args:
        metadata: the artifact's.
        calls: of a profile; empty where nothing was measured.
        was: formats of the operators of another artifact, by name.
    """
    total = sum(map(sum, calls.values()))
    times: dict[int, float] = {}
    within: dict[int, int] = {}
    kernels: dict[int, str] = {}
    for kernel in metadata.kernels:
        for computed, ms in _timed_calls(kernel, calls):
            if not computed:
                continue
            anchor = max(computed, key=lambda index: (metadata.operators[index].macs, -index))
            for index in computed:
                kernels.setdefault(index, kernel.name)
                if index != anchor:
                    within.setdefault(index, anchor)
            if ms is not None:
                times[anchor] = times.get(anchor, 0.0) + ms
    rows = []
    for index, operator in enumerate(metadata.operators):
        ms = times.get(index)
        rows.append(
            OperatorRow(
                name=operator.name,
                kind=operator.kind,
                format=operator.dtype,
                why=_why(operator, metadata.quant),
                was=None if was is None else was.get(operator.name),
                ms=ms,
                share=ms / total if ms is not None and total else None,
                within=within.get(index) if ms is None else None,
                kernel=kernels.get(index),
                macs=operator.macs,
                sqnr_db=operator.sqnr_db,
                network_sqnr_db=operator.network_sqnr_db,
                record=operator.record,
                inputs=operator.inputs,
            )
        )
    return tuple(rows)


def _timed_calls(
    kernel: KernelWork, calls: Calls
) -> Iterator[tuple[tuple[int, ...], float | None]]:
    """What each call computes, and its ms; those of a kernel whose calls depend on the data are
    alike."""
    ms = calls.get(kernel.name)
    for index, computed in enumerate(kernel.calls):
        if not ms:
            yield computed, None
        elif len(ms) == len(kernel.calls):
            yield computed, ms[index]
        else:
            yield computed, sum(ms) / len(kernel.calls)


def _why(operator: Operator, quant: str) -> str:
    generic = "only a generic kernel" if operator.generic else ""
    return "; ".join(filter(None, (operator.reason or _as_planned(operator, quant), generic)))


def _as_planned(operator: Operator, quant: str) -> str:
    """What there is to say of an operator that nothing kept from its format."""
    if operator.dtype == "int8":
        return {
            "int8": "rounded to 8 bits",
            "dynamic": "8 bits, scaled at each run",
        }.get(quant, "the model has it in 8 bits")
    if operator.dtype in ("float16", "bfloat16") and quant in ("fp16", "bf16"):
        return f"half precision, as --quant {quant} asks"
    return "as the model has it"


def kernel_rows(metadata: Metadata, calls: Calls, peaks: Peaks) -> tuple[KernelRow, ...]:
    """The kernels, the slowest first; ``peaks`` is raised to the fastest of them."""
    total = sum(map(sum, calls.values()))
    works = {kernel.name: kernel for kernel in metadata.kernels}
    measured: dict[str, list[float]] = defaultdict(list)
    for name in {**works, **calls}:
        measured[name] = list(calls.get(name, ()))
    for name, work in works.items():
        if work.macs and measured[name]:
            rate = 1e3 * work.macs * len(measured[name]) / sum(measured[name])
            peaks.clock *= max(1.0, rate / peaks.multiply_adds(work.dtype))
    rows = [_kernel_row(name, works.get(name), ms, total, peaks) for name, ms in measured.items()]
    return tuple(sorted(rows, key=lambda row: -(row.ms or 0.0)))


def _kernel_row(
    name: str, work: KernelWork | None, ms: Sequence[float], total: float, peaks: Peaks
) -> KernelRow:
    macs, nbytes = (work.macs, work.nbytes) if work else (0, 0)
    spent = sum(ms)
    rate = intensity = of_roof = None
    if work and macs and nbytes and spent:
        rate = 1e3 * macs * len(ms) / spent
        intensity = macs / nbytes
        of_roof = rate / min(peaks.multiply_adds(work.dtype), intensity * peaks.bytes())
    return KernelRow(
        name=name,
        format=_SHOWN.get(work.dtype, work.dtype) if work else "",
        calls=len(ms) or (len(work.calls) if work else 0),
        macs=macs,
        bytes=nbytes,
        ms=spent if ms else None,
        share=spent / total if total else None,
        rate=None if rate is None else rate / 1e9,
        intensity=intensity,
        of_roof=of_roof,
    )


def roofs(rows: Sequence[KernelRow], peaks: Peaks) -> tuple[Roof, ...]:
    """The roof of each format that a kernel with products reads."""
    found = sorted({row.format for row in rows if row.rate is not None})
    return tuple(Roof(each, peaks.multiply_adds(each) / 1e9, peaks.bytes() / 1e9) for each in found)
