"""How close ARM kernels come to their core's peak, where no board is at hand: static analysis.

Builds a network for an ARM target as `tvmcomp build` does, takes the machine code of each
convolution and matrix product, finds the loop that holds its multiply-accumulates, and asks
LLVM's model of the target's core (llvm-mca) how many cycles an iteration takes. Printed for each
kernel: multiply-accumulates a cycle of that loop, their share of the core's peak, the share of
them that is the network's and not padding to whole vectors and blocks, and at the end each kind
of kernel and all of them together, by the time they take. The peak is what the same model says of
independent instructions of the kind that does most at once (fmla; smull, sdot or smmla).

llvm-mca takes every load to hit the L1 cache and every branch to be predicted: the shares are an
upper bound, good for finding loops that waste issue slots, not a latency.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.arm import static_loops
from benchmarks.arm.static_geometry import Geometry, geometry
from benchmarks.zoo import catalogue as zoo
from benchmarks.zoo.packages import ZooError
from tvmcomp import frontend, targets
from tvmcomp.errors import TvmcompError
from tvmcomp.model import Model
from tvmcomp.passes.call_counts import call_counts
from tvmcomp.passes.pipeline import lower
from tvmcomp.progress import NoProgress
from tvmcomp.quantize import QuantConfig
from tvmcomp.quantize.data import load_samples
from tvmcomp.quantize.precision import choose_precision
from tvmcomp.schedules import apply_schedule
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

#: Kinds that the total counts: a depthwise convolution is bound by its loads, not its arithmetic.
_ALL = "all but depthwise"


@dataclass(frozen=True)
class Kernel:
    """One kernel of a network, analysed.

    Attributes:
        name: of the fused function.
        kind: ``3x3``, ``1x1``, ``matmul``, ``depthwise 3x3`` …
        shape: what it computes, for a person.
        dtype: ``int8`` or ``float32``.
        calls: how often the network calls it.
        macs: multiply-accumulates of one call that the network asks for.
        useful: the share of those that it computes, padding counted.
        rate: multiply-accumulates a cycle of its hottest loop; None where no loop was found.
        share: ``rate`` over the peak.
    """

    name: str
    kind: str
    shape: str
    dtype: str
    calls: int
    macs: int
    useful: float
    rate: float | None
    share: float | None


def lowered_network(network: Model, target: TargetDescription, int8: bool) -> Any:
    """The scheduled module; int8 is calibrated with noise: only the shapes matter here."""
    samples = None
    if int8:
        rng = np.random.default_rng(0)
        noise = {
            spec.name: rng.standard_normal(spec.shape).astype(spec.dtype)
            for spec in network.signature.inputs
        }
        samples = load_samples([noise], network.signature, None, None)
    config = QuantConfig(min_sqnr_db=None, observer="minmax")
    choice = choose_precision(
        network,
        target,
        targets.detect(),
        "int8" if int8 else None,
        samples,
        config,
        NoProgress(),
        None,
    )
    return lower(choice.mod, target)


def analyse(lowered: Any, target: TargetDescription, loops: Path | None) -> list[Kernel]:
    """Every kernel of ``lowered`` that multiplies and adds, the most work first."""
    calls = call_counts(lowered.mod)
    kernels = []
    for name, task in lowered.tasks.items():
        found = geometry(task)
        if found is None:
            continue
        schedule = tvm.s_tir.Schedule(task)
        apply_schedule(schedule, target)
        loop = _loop(schedule.mod["main"], target)
        if loop is not None and loops is not None:
            static_loops.save(loop, loops / f"{name}.s")
        # A kernel that writes a border around its result has a name of its own.
        count = sum(n for k, n in calls.items() if k == name or k.startswith(f"{name}_halo"))
        kernels.append(_judged(name, found, count, loop, target))
    return sorted(kernels, key=lambda kernel: -kernel.macs * kernel.calls)


def _loop(func: Any, target: TargetDescription) -> static_loops.Loop | None:
    module = tvm.IRModule({"main": func.with_attr("global_symbol", "main")})
    compiled = tvm.compile(module, tvm.target.Target(target.tvm_target_dict()))
    found = [
        static_loops.hottest_loop(body)
        for _, body in static_loops.functions(compiled.mod.inspect_source("asm"))
    ]
    return max((loop for loop in found if loop), key=lambda loop: loop.weight, default=None)


def _judged(
    name: str, found: Geometry, calls: int, loop: static_loops.Loop | None, target: Any
) -> Kernel:
    rate = share = None
    if loop is not None:
        rate = static_loops.macs_per_cycle(loop, target.cpu)
        share = rate / static_loops.peak(target.cpu, found.integer, target.features)
    return Kernel(
        name,
        found.kind,
        found.shape,
        "int8" if found.integer else "float32",
        calls,
        found.macs,
        found.macs / found.computed,
        rate,
        share,
    )


def totals(kernels: Iterable[Kernel]) -> dict[str, dict[str, float]]:
    """For each kind and for all: the share of the peak, and of that what the network asked for.

    Shares are averaged by time: a kernel at half the peak counts twice as long.
    """
    groups: dict[str, list[Kernel]] = {}
    for kernel in kernels:
        if kernel.share is None:
            continue
        groups.setdefault(kernel.kind, []).append(kernel)
        if not kernel.kind.startswith("depthwise"):
            groups.setdefault(_ALL, []).append(kernel)
    result = {}
    for kind, members in sorted(groups.items()):
        computed = sum(k.macs * k.calls / k.useful for k in members)
        time = sum(k.macs * k.calls / k.useful / (k.share or 1) for k in members)
        macs = sum(k.macs * k.calls for k in members)
        result[kind] = {"macs": macs, "share": computed / time, "useful_share": macs / time}
    return result


def print_table(kernels: list[Kernel], title: str) -> None:
    """Print ``kernels`` and their totals for a person."""
    table = Table("kernel", "shape", "calls", "MMACs", "MACs/cycle", "of peak", "useful")
    table.title = title
    for k in kernels:
        rate = f"{k.rate:.2f}" if k.rate is not None else "no loop"
        share = f"{k.share:.0%}" if k.share is not None else ""
        millions = f"{k.macs / 1e6:.1f}"
        table.add_row(k.kind, k.shape, str(k.calls), millions, rate, share, f"{k.useful:.0%}")
    table.add_section()
    for kind, total in totals(kernels).items():
        of_peak, useful = f"{total['share']:.1%}", f"{total['useful_share']:.1%}"
        table.add_row(kind, "", "", f"{total['macs'] / 1e6:.0f}", "", of_peak, useful)
    Console(width=max(100, Console().width)).print(table)


def main(arguments: list[str] | None = None) -> int:
    """Print a row for each kernel; exit status 1 where ``--at-least`` is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.arm.static",
        description=__doc__,
        epilog="examples:\n  python -m benchmarks.arm.static resnet-50 --target rpi4\n"
        "  python -m benchmarks.arm.static net.onnx --target graviton3 --quant int8 --json\n\n"
        "exit status: 0 done, 1 a share is under --at-least, 2 a wrong command line or model, or "
        "llvm-mca is missing",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("network", help="an ONNX file, or a network of the zoo")
    parser.add_argument("--target", default="rpi4", help="a 64-bit ARM target (default: rpi4)")
    parser.add_argument("--quant", choices=("none", "int8"), default="none")
    parser.add_argument("--at-least", type=float, metavar="SHARE", help="e.g. 0.7, of all but "
                        "depthwise")  # fmt: skip
    parser.add_argument("--loops", type=Path, metavar="DIR", help="write each kernel's loop there")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    try:
        static_loops.program()
        target = targets.load(options.target)
        if not target.triple.startswith("aarch64"):
            parser.error(f"{target.name} is no 64-bit ARM target")
        path = zoo.fetch(options.network) if options.network in zoo.NETWORKS else options.network
        known = zoo.NETWORKS.get(options.network)
        network = frontend.load_model(path, known.inputs if known else {})
        if options.loops:
            options.loops.mkdir(parents=True, exist_ok=True)
        lowered = lowered_network(network, target, options.quant == "int8")
        kernels = analyse(lowered, target, options.loops)
    except (TvmcompError, ZooError, static_loops.McaError, OSError) as error:
        print(f"benchmarks.arm.static: {error}", file=sys.stderr)
        return 2
    peaks = {
        dtype: static_loops.peak(target.cpu, dtype == "int8", target.features)
        for dtype in sorted({kernel.dtype for kernel in kernels})
    }
    model = static_loops.which_model(target.cpu)
    summary = totals(kernels)
    if options.json:
        document = {
            "network": options.network,
            "target": target.name,
            "model": model,
            "peak_macs_per_cycle": peaks,
            "totals": summary,
            "kernels": [dataclasses.asdict(kernel) for kernel in kernels],
        }
        print(json.dumps(document, indent=2))
    else:
        peak = ", ".join(f"{dtype} {value:g}" for dtype, value in peaks.items())
        print_table(kernels, f"{options.network} for {target.name}, LLVM's {model}; peak {peak}")
    if options.at_least is not None and summary.get(_ALL, {}).get("share", 0) < options.at_least:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
