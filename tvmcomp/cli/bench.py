"""``tvmcomp bench``: measure an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from tvmcomp.cli.binding_options import parse_shapes
from tvmcomp.cli.common import err, json_option, out, print_json
from tvmcomp.cli.machine_options import Place, machine_for, machine_options
from tvmcomp.fitted import Column, fitted_table

if TYPE_CHECKING:
    from tvmcomp.runtime.bench import Benchmark
    from tvmcomp.runtime.profile import KernelTime
    from tvmcomp.runtime.threads import Pin


@click.command("bench")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option(
    "--repeat",
    type=click.IntRange(1, 2**31 - 1),
    help="Timed runs after the warm-up [default: what fits in 3 s, 10 to 2000].",
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME=DIM,…",
    help="Which of the shapes that it was built for: x=8,3,224,224.  [default: the first]",
)
@click.option("--profile", is_flag=True, help="Show the time of each kernel as well.")
@machine_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    artifact: Path,
    repeat: int | None,
    shapes: tuple[str, ...],
    profile: bool,
    place: Place,
    threads: int | None,
    pin: Pin,
    as_json: bool,
) -> None:
    """Measure ARTIFACT: latency after a warm-up, load time, peak memory.

    Every run is timed by itself where it runs, without the copies of inputs and outputs; on a
    device the network is not in the figures. Of this machine's GPU a figure with the copies is
    beside. The reference inputs are run first, if the artifact holds them: where the outputs differ
    from the reference ones the exit status is 1.

    \b
    Examples:
      tvmcomp bench net.tvmc --threads 2 --profile
      tvmcomp bench net.tvmc --shape x=8,3,224,224
      tvmcomp bench net.tvmc --device 127.0.0.1:9190/rpi4
      tvmcomp bench net.tvmc --device adb://emulator-5554
    """
    import msgspec

    from tvmcomp.artifact.artifact import Artifact
    from tvmcomp.artifact.reference import compare
    from tvmcomp.runtime.bench import benchmark
    from tvmcomp.runtime.by_shape import signature_of
    from tvmcomp.runtime.profile import moves
    from tvmcomp.runtime.profile import profile as profile_kernels
    from tvmcomp.runtime.session import load_on

    with (
        machine_for(place) as machine,
        load_on(machine, artifact, threads, pin) as session,
    ):
        loaded: Artifact = session.artifact
        agreements = []
        if loaded.reference is not None:
            outputs = session.run(loaded.reference.inputs)
            agreements = compare(outputs, loaded.reference, loaded.metadata.quant)
        signature = signature_of(session.signatures, parse_shapes(shapes))
        result = benchmark(session, repeat, signature)
        kernels = profile_kernels(session) if profile else []
    agrees = all(agreement.agrees for agreement in agreements)
    if as_json:
        document = msgspec.to_builtins(result)
        document["shapes"] = {spec.name: spec.shape for spec in signature.inputs}
        document["artifact_mib"] = artifact.stat().st_size / 2**20
        document["agrees"] = agrees if agreements else None
        if profile:
            document["kernels"] = msgspec.to_builtins(kernels)
        print_json(document)
    else:
        shape = f", {signature.shapes_text}" if len(session.signatures) > 1 else ""
        out.print(f"{result.runs} runs on {result.machine}, {result.threads} threads{shape}")
        out.print(_latency_table(result, artifact.stat().st_size))
        if profile:
            out.print(_kernel_table(kernels))
            moved = moves(kernels)
            out.print(f"{moved.calls} calls only move data: {moved.ms:.4f} ms, {moved.share:.1%}")
        if agreements and agrees:
            out.print("outputs agree with the reference ones")
    if not agrees:
        differing = ", ".join(a.output for a in agreements if not a.agrees)
        err.print(f"[red]outputs differ from the reference ones: {differing}[/red]")
    ctx.exit(0 if agrees else 1)


def _latency_table(result: Benchmark, size: int) -> Table:
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for label, value in (
        ("p50", _milliseconds(result.p50_ms)),
        ("p90", _milliseconds(result.p90_ms)),
        ("p99", _milliseconds(result.p99_ms)),
        ("minimum", _milliseconds(result.min_ms)),
        *_transfers(result),
        ("spread", f"{result.spread:.1%}"),
        ("load", _milliseconds(result.load_ms)),
        ("peak memory", _mebibytes(result.peak_memory_mib)),
        ("artifact", _mebibytes(size / 2**20)),
    ):
        table.add_row(label, value)
    return table


def _transfers(result: Benchmark) -> list[tuple[str, str]]:
    found = result.with_transfers_ms
    return [] if found is None else [("p50 with transfers", _milliseconds(found))]


def _kernel_table(kernels: list[KernelTime]) -> Table:
    columns = [Column("kernel", "name"), Column("calls", "number", rank=1)]
    columns += [Column("ms", "number"), Column("share", "number", rank=2)]
    rows = [(each.name, str(each.calls), f"{each.ms:.4f}", f"{each.share:.1%}") for each in kernels]
    return fitted_table(columns, rows, out)[0]


def _milliseconds(value: float) -> str:
    return f"{value:.4g} ms"


def _mebibytes(value: float | None) -> Any:
    return "unknown" if value is None else f"{value:.1f} MiB"
