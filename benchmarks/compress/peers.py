"""Int8 beside NNCF's and ONNX Runtime's: points lost on held-out data, of the same samples."""

from __future__ import annotations

import argparse
from functools import partial

from benchmarks.accuracy.peers import PEERS
from benchmarks.compress import results
from benchmarks.compress.results import Row, lost, noise, points
from benchmarks.compress.variants import compressed, int8, peer

OURS = ("build", "compress", "distilled")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    results.add_arguments(parser)
    results.budget_argument(parser)
    parser.add_argument("--no-distil", action="store_true", help="only what needs no training")
    parser.epilog = "$TVMCOMP_PEERS_PYTHON names a Python that has openvino, nncf and onnxruntime"


def run(args: argparse.Namespace) -> int:
    """Print a row for each network; 1 where a peer loses less, by more than noise, than all of
    ours."""
    variants = {
        "build": int8(),
        "compress": compressed(args.seed, quant="int8"),
        "distilled": compressed(args.seed, args.budget, quant="int8", distil=True),
    }
    if args.no_distil:
        del variants["distilled"]
    variants |= {name: peer(name) for name in PEERS}
    settings = f"budget {args.budget}, seed {args.seed}"
    found = results.rows(args, "peers", settings, variants)
    columns = {"float": lambda row: points(row.float_points)}
    columns |= {f"{name}: lost": partial(lost, name=name) for name in variants}
    columns["noise"] = lambda row: f"{noise(row):.2f}"
    results.show(args, found, columns)
    return int(any(is_behind(row) for row in found))


def is_behind(row: Row) -> bool:
    """Whether a peer's network is better than each of ours by more than the samples' noise."""
    drops = {name: judged.drop for name, judged in row.variants.items() if not judged.error}
    ours = [drop for name, drop in drops.items() if name in OURS]
    theirs = [drop for name, drop in drops.items() if name in PEERS]
    return bool(theirs) and (not ours or min(theirs) < min(ours) - noise(row))
