"""``tvmcomp logs merge``, ``push``, ``pull`` and ``prune``: move records, and take out old ones."""

from __future__ import annotations

import click

from tvmcomp.cli.common import err, json_option, out, plain, print_json, print_problems
from tvmcomp.cli.logs_common import logs_argument, one, one_log_option, the_one


@click.command("merge")
@click.argument("into", metavar="INTO")
@click.argument("sources", nargs=-1, required=True, metavar="LOG...")
@json_option
def merge_command(into: str, sources: tuple[str, ...], as_json: bool) -> None:
    """Copy into INTO the records of each LOG that it lacks; LOGs stay as they are.

    What comes out does not depend on the order, and nothing is there twice.

    \b
    Example:
      tvmcomp logs merge tuning_logs laptop_logs build-server.db
    """
    _copy(sources, into, as_json)


@click.command("push")
@click.argument("remote", metavar="REMOTE")
@one_log_option
@json_option
def push(remote: str, log: str | None, as_json: bool) -> None:
    """Copy your records to a log that you share.

    \b
    Example:
      tvmcomp logs push postgresql://team@logs.local/tuning
    """
    _copy([log], remote, as_json)


@click.command("pull")
@click.argument("remote", metavar="REMOTE")
@one_log_option
@json_option
def pull(remote: str, log: str | None, as_json: bool) -> None:
    """Copy the records of a log that you share to yours.

    \b
    Example:
      tvmcomp logs pull postgresql://team@logs.local/tuning
    """
    _copy([remote], log, as_json)


def _copy(sources: tuple[str, ...] | list[str | None], into: str | None, as_json: bool) -> None:
    from tvmcomp.tuning.log.merge import merge

    documents = []
    problems: list[str] = []
    with one(into, must_exist=False) as destination:
        for location in sources:
            with one(location) as source, err.status("merging") as status:

                def tell(read: int, name: str = source.where) -> None:
                    status.update(plain(f"merging {name}: {read} records"))

                merged = merge(source, destination, tell)
                problems += source.problems
                documents.append(
                    {
                        "from": source.where,
                        "read": merged.read,
                        "added": merged.added,
                        "malformed": merged.malformed,
                    }
                )
        where = destination.where
        problems += destination.problems
    if as_json:
        print_json({"into": where, "sources": documents, "problems": problems})
        return
    for each in documents:
        text = f"{each['added']} of {each['read']} records of {each['from']} were new in {where}"
        out.print(plain(text), soft_wrap=True)
    print_problems(problems)


@click.command("prune")
@logs_argument
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Candidates to keep of each workload, target and device: the fastest.",
)
@click.option("--dry-run", is_flag=True, help="Only say how many would go.")
@json_option
def prune_command(
    logs: tuple[str, ...], log: tuple[str, ...], keep: int, dry_run: bool, as_json: bool
) -> None:
    """Take out slow and failed trials that no build will use.

    The baselines, finished searches and workloads stay.

    \b
    Example:
      tvmcomp logs prune tuning_logs --keep 4
    """
    from tvmcomp.tuning.log.prune import prune

    with one(the_one(logs, log)) as store:
        removed = prune(store, keep, dry_run)
        where, problems = store.where, store.problems
    if as_json:
        print_json({"log": where, "removed": removed, "dry_run": dry_run, "problems": problems})
        return
    out.print(plain(f"{removed} records {'would go' if dry_run else 'are gone'} from {where}"))
    print_problems(problems)


COMMANDS = (merge_command, push, pull, prune_command)
