"""``tvmcomp logs list``, ``show`` and ``stats``: what is in a log."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING, Any

import click
import msgspec

from tvmcomp.cli.common import json_option, out, plain, print_json, print_problems
from tvmcomp.cli.logs_common import logs_argument, milliseconds, one, opened, the_one
from tvmcomp.fitted import Column, fitted_table

if TYPE_CHECKING:
    from tvmcomp.tuning.log.line import Entry
    from tvmcomp.tuning.log.tuning_log import TuningLog


@click.command("list")
@logs_argument
@click.option("--workload", default="", metavar="HASH", help="Records of this workload only.")
@click.option("--target", default="", metavar="NAME", help="Records of this target's name only.")
@click.option("--limit", type=click.IntRange(min=1), help="So many at most.")
@json_option
def list_command(
    logs: tuple[str, ...],
    log: tuple[str, ...],
    workload: str,
    target: str,
    limit: int | None,
    as_json: bool,
) -> None:
    """List records: a line for each trial.

    \b
    Example:
      tvmcomp logs list tuning_logs --target rpi4 --limit 20
    """
    with opened([*logs, *log]) as opened_log:
        rows = []
        for row in _rows(opened_log, workload, target):
            rows.append(row)
            if limit and len(rows) == limit:
                break
        problems = opened_log.problems
    if as_json:
        print_json({"records": rows, "problems": problems})
        return
    columns = (
        Column("id"),
        Column("workload", rank=5),
        Column("kernel", "name"),
        Column("target", "name", rank=3),
        Column("device", "name", rank=2),
        Column("ms", "sentence"),
        Column("date", rank=4),
    )
    cells = [
        (
            row["id"][:12],
            row["workload"],
            row["name"],
            row["target"],
            row["device"],
            row["error"] or milliseconds(row["seconds"]),
            row["date"],
        )
        for row in rows
    ]
    out.print(fitted_table(columns, cells, out)[0])
    print_problems(problems)


def _rows(log: TuningLog, workload: str, target: str) -> Iterator[dict[str, Any]]:
    for entry in log.entries():
        if entry.summary.type != "trial" or not entry.workload.startswith(workload):
            continue
        with log.reporting(entry):
            trial = msgspec.to_builtins(entry.line)
            if target in ("", trial["target"]["name"]):
                times = trial["run_secs"]
                yield {
                    "id": entry.digest,
                    "workload": entry.workload,
                    "name": trial["workload"]["name"],
                    "target": trial["target"]["name"],
                    "device": trial["device"]["cpu"],
                    "seconds": median(times) if times else None,
                    "error": trial["error"],
                    "untuned": trial["untuned"],
                    "date": trial["date"],
                }


@click.command("show")
@click.argument("record", metavar="ID")
@logs_argument
@json_option
def show(record: str, logs: tuple[str, ...], log: tuple[str, ...], as_json: bool) -> None:
    """Show all of one record; ID is the beginning of its digest.

    \b
    Example:
      tvmcomp logs show 3f9a2c04 tuning_logs
    """
    with opened([*logs, *log]) as opened_log:
        found = [entry for entry in opened_log.entries() if entry.digest.startswith(record)]
        problems = opened_log.problems
    entry = _only(record, found)
    document = {"id": entry.digest, **_fields(entry)}
    if as_json:
        print_json(document)
        return
    for name, value in document.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        out.print(plain(f"{name}: {text}"), soft_wrap=True)
    print_problems(problems)


def _fields(entry: Entry) -> dict[str, Any]:
    from tvmcomp.errors import LogError

    try:
        fields: dict[str, Any] = msgspec.json.decode(entry.text)
        return fields
    except (msgspec.DecodeError, RecursionError) as error:
        raise LogError(f"can't be read: {error}", where=f"record {entry.digest[:12]}") from None


def _only(record: str, found: list[Entry]) -> Entry:
    from tvmcomp.errors import LogError

    if len(found) == 1:
        return found[0]
    raise LogError(
        f"{len(found)} records have a digest that begins so"
        if found
        else "there is no such record",
        where=record,
        hint="`tvmcomp logs list --json` prints the whole digests.",
    )


@click.command("stats")
@logs_argument
@json_option
def stats(logs: tuple[str, ...], log: tuple[str, ...], as_json: bool) -> None:
    """Count what a log holds: records, workloads, targets, devices, and lines that can't be read.

    \b
    Example:
      tvmcomp logs stats tuning_logs --json
    """
    from tvmcomp.tuning.log.statistics import statistics

    with one(the_one(logs, log)) as store:
        document = msgspec.to_builtins(statistics(store))
    if as_json:
        print_json(document)
        return
    problems = document.pop("problems")
    for name, value in document.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        out.print(plain(f"{name:10} {'–' if text is None else text}"), soft_wrap=True)
    out.print(f"{'problems':10} {len(problems)}")
    print_problems(problems)


COMMANDS = (list_command, show, stats)
