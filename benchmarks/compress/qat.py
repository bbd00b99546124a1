"""How much of what plain post-training int8 loses comes back by rounding and by distillation."""

from __future__ import annotations

import argparse
from functools import partial

from benchmarks.compress import results
from benchmarks.compress.results import Row, lost, points
from benchmarks.compress.variants import compressed, int8

#: Share of the loss that distillation is to recover, where the loss is more than so many points.
SHARE, LOSS = 0.8, 1.0
PLAIN = "nearest, no guard"
DISTILLED = "distilled"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    results.add_arguments(parser)
    results.budget_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print a row for each network; 1 where too little comes back."""
    variants = {
        PLAIN: int8(guard=False, nearest=True),
        "rounding": compressed(args.seed, quant="int8"),
        DISTILLED: compressed(args.seed, args.budget, quant="int8", distil=True),
    }
    settings = f"budget {args.budget}, seed {args.seed}"
    found = results.rows(args, "qat", settings, variants)
    columns = {"float": lambda row: points(row.float_points)}
    columns |= {f"{name}: lost": partial(lost, name=name) for name in variants}
    columns["recovered"] = _shown
    results.show(args, found, columns)
    shares = [recovered(row) for row in found]
    return int(any(share is not None and share < SHARE for share in shares))


def recovered(row: Row) -> float | None:
    """Share of what is lost without training that distillation gets back; None where it is little
    or unknown."""
    plain, distilled = (row.variants.get(name) for name in (PLAIN, DISTILLED))
    if plain is None or distilled is None or plain.error or distilled.error or plain.drop <= LOSS:
        return None
    return (plain.drop - distilled.drop) / plain.drop


def _shown(row: Row) -> str:
    share = recovered(row)
    return "" if share is None else f"{share:.0%}"
