"""``tvmcomp logs verify``: rebuild and measure records again."""

from __future__ import annotations

import sys
from collections import Counter

import click
import msgspec

from tvmcomp.cli.common import (
    NotingCommand,
    err,
    json_option,
    out,
    plain,
    print_json,
    print_problems,
)
from tvmcomp.cli.logs_common import logs_argument, milliseconds, opened
from tvmcomp.fitted import Column, fitted_table


@click.command("verify", cls=NotingCommand)
@logs_argument
@click.option("--target", default="native", show_default=True, help="Target name or TOML file.")
@click.option("--device", help="Measure on HOST:PORT, or on a board of TRACKER:PORT/KEY.")
@click.option(
    "--records",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Records of each workload to check, best first.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=1.0),
    default=1.5,
    show_default=True,
    help="How many times slower or faster still holds. A kernel is measured alone here, which is "
    "not quite what it takes in a network.",
)
@click.option("--linker", metavar="COMMAND", help="Link with this C compiler's command line.")
@json_option
def verify_command(
    logs: tuple[str, ...],
    log: tuple[str, ...],
    target: str,
    device: str | None,
    records: int,
    tolerance: float,
    linker: str | None,
    as_json: bool,
) -> None:
    """Rebuild and measure the records that builds for a target would use, here or on a device.

    Each must make the kernel that was measured, compute what the unscheduled kernel computes, and
    be as fast as it was, beside the baseline where that was measured, too. Exit status 1
    where one no longer holds, or a line can't be read.

    \b
    Example:
      tvmcomp logs verify tuning_logs --target rpi4 --device 192.168.1.20:9090
    """
    from tvmcomp import targets
    from tvmcomp.tuning.measure import Bench
    from tvmcomp.tuning.verify import verify

    description = targets.load(target)
    results = []
    with opened([*logs, *log]) as opened_log, Bench(description, device, linker) as bench:
        with err.status("verifying") as status:
            for result in verify(opened_log, description, bench, records, tolerance):
                results.append(result)
                status.update(plain(f"verifying: {len(results)} records, {result.name}"))
        problems = opened_log.problems
    bad = [result for result in results if not result.good]
    if as_json:
        print_json({"records": msgspec.to_builtins(results), "problems": problems})
    else:
        columns = (
            Column("id", rank=4),
            Column("kernel", "name"),
            Column("status"),
            Column("ms in the log", "number", rank=3),
            Column("ms now", "number", rank=2),
            Column("reason", "sentence", rank=1),
        )
        rows = [
            (
                result.record[:12],
                result.name,
                result.status,
                milliseconds(result.seconds),
                milliseconds(result.seconds_now),
                result.reason or "",
            )
            for result in results
        ]
        out.print(fitted_table(columns, rows, out)[0])
        counts = Counter(result.status for result in results)
        out.print(
            ", ".join(f"{count} {status}" for status, count in counts.items()) or "no records"
        )
        print_problems(problems)
    if bad or problems:
        sys.exit(1)


COMMANDS = (verify_command,)
