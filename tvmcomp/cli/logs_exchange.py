"""``tvmcomp logs import`` and ``export``: records from and to MetaSchedule's own database."""

from __future__ import annotations

from pathlib import Path

import click

from tvmcomp.cli.common import json_option, out, plain, print_json, print_problems
from tvmcomp.cli.logs_common import one, one_log_option, opened

_Folder = click.Path(file_okay=False, path_type=Path)


@click.command("import")
@click.argument("folder", type=_Folder)
@one_log_option
@click.option("--target", default="native", show_default=True, help="What it was tuned for.")
@click.option("--here", is_flag=True, help="It was measured on this machine.")
@json_option
def import_command(folder: Path, log: str | None, target: str, here: bool, as_json: bool) -> None:
    """Take over the records of a MetaSchedule database: the two .json files in FOLDER.

    It says neither which features the target has nor which device was measured: name the target
    with --target. Doing it again adds nothing.

    \b
    Example:
      tvmcomp logs import ms_work_dir --target rpi4
    """
    from tvmcomp import targets
    from tvmcomp.targets.fingerprint import Fingerprint, local_fingerprint
    from tvmcomp.tuning.log.line import Entry, encode
    from tvmcomp.tuning.metaschedule_files import read_database

    description = targets.load(target)
    device = local_fingerprint() if here else Fingerprint(cpu="")
    problems: list[str] = []
    with one(log, must_exist=False) as store:
        entries = []
        for line in read_database(folder, description, device, problems.append):
            try:
                entries.append(Entry(encode(line)))
            except ValueError as error:
                problems.append(f"{folder}: a record of {line.workload.name} skipped: {error}")
        added = store.add(entries)
        where = store.where
    if as_json:
        print_json({"log": where, "read": len(entries), "added": added, "problems": problems})
        return
    out.print(plain(f"{added} of {len(entries)} lines were new in {where}"), soft_wrap=True)
    print_problems(problems)


@click.command("export")
@click.argument("folder", type=_Folder)
@one_log_option
@click.option("--target", default="native", show_default=True, help="Records for this target.")
@json_option
def export_command(folder: Path, log: str | None, target: str, as_json: bool) -> None:
    """Write the measured records for a target to FOLDER as MetaSchedule's database.

    \b
    Example:
      tvmcomp logs export ms_database --log tuning_logs --target rpi4
    """
    from tvmcomp import targets
    from tvmcomp.tuning.metaschedule_files import write_database

    problems: list[str] = []
    with opened([log] if log else []) as opened_log:
        description = targets.load(target)
        written = write_database(folder, opened_log, description, problems.append)
        problems += opened_log.problems
    if as_json:
        print_json({"folder": str(folder), "records": written, "problems": problems})
        return
    out.print(plain(f"{written} records for {target} are in {folder}"), soft_wrap=True)
    print_problems(problems)


COMMANDS = (import_command, export_command)
