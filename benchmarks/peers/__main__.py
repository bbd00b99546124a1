"""tvmcomp beside ONNX Runtime and OpenVINO: the same network, input and number of threads.

Every engine runs in a process of its own, at its best settings, and they take turns in blocks over
repeated rounds. A ratio is a peer's latency over ours, the median over the rounds: above 1 we are
faster. The ratio of a network is that to the faster peer. Our artifacts and the peers' quantized
models are kept in the zoo's cache and made again when what they are made of has changed, tvmcomp's
sources included.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks.peers import cases as peers_cases
from benchmarks.peers.cases import SUITE, Case
from benchmarks.peers.isa import Isa, isas, machine
from benchmarks.peers.models import PRECISIONS, Made, make, offered, peer_versions
from benchmarks.peers.report import Heat, failures, heat_rows, print_report, summaries
from benchmarks.peers.turns import Contestant, take_turns
from benchmarks.zoo.packages import ZooError

ENGINES = ("tvmcomp", "onnxruntime", "openvino")


def choice(allowed: tuple[str, ...]) -> Callable[[str], list[str]]:
    """A parser of comma-separated words out of `allowed`."""

    def parse(text: str) -> list[str]:
        words = text.split(",")
        if unknown := [word for word in words if word not in allowed]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(allowed)}")
        return words

    return parse


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        epilog="examples:\n"
        "  python -m benchmarks.peers                            # the whole suite\n"
        "  python -m benchmarks.peers resnet18 net.onnx --precision fp32,int8 --threads 1,2\n"
        "  python -m benchmarks.peers --isa avx2 --precision fp32 --json > avx2.json\n\n"
        "The peers need pip install 'tvmcomp[peers]', here or in the Python that\n"
        "TVMCOMP_PEERS_PYTHON names.\n\n"
        "exit status: 0 done, 1 something could not be measured, 2 wrong command line",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("networks", nargs="*", metavar="NETWORK", help="zoo names or .onnx files [the suite]")
    add("--precision", type=choice(PRECISIONS), default=["fp32"], help="fp32,int8,bf16 [fp32]")
    add("--threads", type=lambda text: [int(t) for t in text.split(",")], default=[1, 2])
    add("--rounds", type=int, default=7, help="turns of each engine [7]")
    add("--block", type=float, default=0.3, metavar="SECONDS", help="length of a turn [0.3]")
    add("--engines", type=choice(ENGINES), default=list(ENGINES), help=",".join(ENGINES))
    add("--isa", choices=list(isas()), default="native", help="instruction set for all [native]")
    add("--rebuild", action="store_true", help="make every file anew")
    add("--stale", action="store_true", help="use artifacts of older sources too")
    add("--prepare", action="store_true", help="only make what is missing; measure nothing")
    add("--json", action="store_true", help="print JSON")
    add(
        "--show",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="print the tables of such JSON files, taken on one machine, together; measure nothing",
    )
    return parser


def prepare(case: Case, args: argparse.Namespace, isa: Isa) -> dict[tuple[str, str], Made | str]:
    """What every engine runs; in place of what could not be made, the reason."""
    made: dict[tuple[str, str], Made | str] = {}
    for precision in args.precision:
        for engine in args.engines:
            if not offered(engine, precision):
                continue
            try:
                made[engine, precision] = make(
                    case, engine, precision, isa, rebuild=args.rebuild, stale=args.stale
                )
            except ZooError as error:
                made[engine, precision] = str(error)
    return made


def measure(
    case: Case,
    made: dict[tuple[str, str], Made | str],
    threads: int,
    args: argparse.Namespace,
    isa: Isa,
) -> Heat:
    """Let all engines take turns on one network."""
    contestants = [
        Contestant(engine, precision, Path(), failure=file)
        if isinstance(file, str)
        else Contestant(engine, precision, file.path)
        for (engine, precision), file in made.items()
    ]
    disturbance = take_turns(
        contestants,
        case.inputs,
        threads,
        rounds=args.rounds,
        block_seconds=args.block,
        environment=isa.environment,
    )
    files = {key: file for key, file in made.items() if isinstance(file, Made)}
    return Heat(case.name, threads, case.trained, contestants, files, disturbance)


def compare(args: argparse.Namespace) -> dict:
    """Prepare and measure everything that the command line names; what `--json` prints."""
    isa = isas()[args.isa]
    rows = []
    for name in args.networks or SUITE:
        case = peers_cases.load(name)
        made = prepare(case, args, isa)
        for threads in args.threads:
            print(f"measuring {name} on {threads} threads", file=sys.stderr)
            rows += heat_rows(measure(case, made, threads, args, isa), isa)
    return {
        "machine": machine(),
        "isa": args.isa,
        "note": isa.note,
        "peers": peer_versions(),
        "rounds": args.rounds,
        "block_seconds": args.block,
        "rows": rows,
        "summaries": summaries(rows),
    }


def joined(paths: list[Path]) -> dict:
    """The documents of several runs as one, with their summaries made anew."""
    documents = [json.loads(path.read_text()) for path in paths]
    if len({(json.dumps(d["machine"]), d["isa"]) for d in documents}) > 1:
        raise ZooError("the files are of different machines or instruction sets")
    rows = [row for document in documents for row in document["rows"]]
    return {**documents[0], "rows": rows, "summaries": summaries(rows)}


def print_prepared(args: argparse.Namespace) -> int:
    """Prepare only, and say what there is; the exit status."""
    failed = False
    for name in args.networks or SUITE:
        made = prepare(peers_cases.load(name), args, isas()[args.isa])
        for file in dict.fromkeys(made.values()):  # the peers share their float file
            print(f"FAILED: {name}: {file}" if isinstance(file, str) else file.path)
            failed |= isinstance(file, str)
    return int(failed)


def main(arguments: list[str] | None = None) -> int:
    """Prepare, measure, report; the exit status."""
    args = build_parser().parse_args(arguments)
    try:
        if args.prepare:
            return print_prepared(args)
        document = joined(args.show) if args.show else compare(args)
    except (ZooError, OSError, ValueError) as error:
        print(f"benchmarks.peers: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(document, indent=2))
    else:
        # Into a file, wide enough for no cell to be broken.
        print_report(document, Console(highlight=False, width=None if sys.stdout.isatty() else 140))
    return int(bool(failures(document["rows"])))


if __name__ == "__main__":
    sys.exit(main())
