"""All together beside other quantizers' int8: points, bytes of the weights, and latency.

Fewer channels, weights of few bits and, with ``--distil``, training, in one recipe. The peers have
no way to do more than int8 with unlabelled samples of an ONNX file.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from benchmarks.accuracy.peers import PEERS
from benchmarks.compress import results
from benchmarks.compress.results import Row, lost, points
from benchmarks.compress.variants import compressed, in_float, int8, peer

TOGETHER = "together"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    results.add_arguments(parser)
    results.budget_argument(parser)
    parser.add_argument(
        "--macs", type=float, help="that are left [as few as the points that may be lost allow]"
    )
    parser.add_argument(
        "--max-drop", type=float, default=1.0, help="points that may be lost [%(default)s]"
    )
    parser.add_argument("--bits", type=int, default=4, help="of the weights [%(default)s]")
    parser.add_argument("--distil", action="store_true", help="train what was made smaller, too")
    parser.epilog = "$TVMCOMP_PEERS_PYTHON names a Python that has openvino, nncf and onnxruntime"


def run(args: argparse.Namespace) -> int:
    """Print a row for each network; 1 where a peer's is smaller, faster or more accurate."""
    options: dict[str, Any] = {"bits": args.bits, "max_drop": args.max_drop}
    options |= {"macs": args.macs} if args.macs else {"prune": True}
    settings = f"macs {args.macs}, bits {args.bits}, max drop {args.max_drop}, seed {args.seed}"
    if args.distil:
        options["distil"] = True
        settings += f", budget {args.budget}"
    variants = {
        "float": in_float(),
        "int8": int8(),
        TOGETHER: compressed(args.seed, args.budget, **options),
    } | {name: peer(name) for name in PEERS}
    found = results.rows(args, "together", settings, variants)
    columns = {"float": lambda row: points(row.float_points)}
    columns |= {f"{name}: lost, KiB, ms": partial(_cell, name=name) for name in variants}
    results.show(args, found, columns)
    return int(not all(is_ahead(row) for row in found))


def is_ahead(row: Row) -> bool:
    """Whether ours is smaller, faster and no less accurate than each peer's."""
    ours = row.variants[TOGETHER]
    theirs = [row.variants[name] for name in PEERS if name in row.variants]
    return not ours.error and all(
        ours.constants_bytes < each.constants_bytes
        and ours.milliseconds < each.milliseconds
        and ours.drop <= each.drop
        for each in theirs
        if not each.error
    )


def _cell(row: Row, name: str) -> str:
    judged = row.variants.get(name)
    if judged is None or judged.error:
        return lost(row, name)
    return f"{lost(row, name)}, {judged.constants_bytes / 2**10:.1f}, {judged.milliseconds:.3f}"
