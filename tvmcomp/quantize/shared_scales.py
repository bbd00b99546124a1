"""Tensors that meet in a concatenation share one scale and zero point: joining them copies bytes.

    concat(a, b), concat(a, b, c), max_pool(a), split(…)   ->   one range for all of them

A *tree* is all that concatenations and operators that move data connect: a dense block, the paths
of an Inception block. One range for a tree costs its narrow tensors some of their steps, so it is
judged on samples that nothing was fitted on: the trees that widen a tensor most are left as they
were, as few as keep the outputs' ratio.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tvmcomp.passes.operator_kinds import PASS_THROUGH
from tvmcomp.passes.rewriter import main_bindings, op_name
from tvmcomp.qparams import QParams, activation_qparams
from tvmcomp.quantize.fewest import fewest
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module, Var

relax = tvm.relax

#: What shared scales may cost at the outputs, in dB: held-out samples don't tell less apart.
MOST_LOST_DB = 0.5


def share_scales(
    mod: Module, qparams: Mapping[Var, QParams], sqnr_db: Callable[[Mapping[Var, QParams]], float]
) -> dict[Var, QParams]:
    """``qparams`` with one scale and zero point a tree of concatenations, where that does no harm.

    Args:
        mod: the float module (NHWC) that was calibrated.
        qparams: the parameters of each tensor that is quantized, uint8 and one a tensor.
        sqnr_db: the ratio at the outputs on held-out samples, in dB, with such parameters.
    """
    trees = concat_trees(mod, qparams)
    shared = {str(i): _joined([qparams[var] for var in tree]) for i, tree in enumerate(trees)}

    def with_trees_apart(apart: set[str]) -> dict[Var, QParams]:
        together = dict(qparams)
        for number, tree in enumerate(trees):
            if str(number) not in apart:
                together.update(dict.fromkeys(tree, shared[str(number)]))
        return together

    if not trees:
        return dict(qparams)
    least = sqnr_db(qparams) - MOST_LOST_DB
    if sqnr_db(with_trees_apart(set())) >= least:
        return with_trees_apart(set())

    def widened(number: str) -> float:
        own = [float(qparams[var].scale) for var in trees[int(number)]]
        return float(shared[number].scale) / min(own)

    ranked = sorted(shared, key=widened, reverse=True)
    apart = fewest(ranked, lambda names: sqnr_db(with_trees_apart(names)) >= least)
    return with_trees_apart(set(ranked) if apart is None else apart)


def concat_trees(mod: Module, tensors: Mapping[Var, Any]) -> list[list[Var]]:
    """Those of ``tensors`` that meet in concatenations, a list of two or more for each tree."""
    parent: dict[Any, Any] = {}

    def root(var: Var) -> Any:
        while var in parent:
            var = parent[var]
        return var

    def connect(var: Var, others: Sequence[Expr]) -> None:
        for other in others:
            if isinstance(other, relax.Var) and root(other) is not root(var):
                parent[root(other)] = root(var)

    joins = []
    order = list(mod["main"].params)
    for binding in main_bindings(mod) or []:
        var, value = binding.var, binding.value
        order.append(var)
        if isinstance(value, relax.TupleGetItem):
            connect(var, [value.tuple_value])
        elif op_name(value) == "concat" and isinstance(value.args[0], relax.Tuple):
            connect(var, list(value.args[0].fields))
            joins.append(var)
        elif _keeps_values(value):
            connect(var, value.args[:1])
    joined = {root(var) for var in joins}
    trees: dict[Any, list[Var]] = {}
    for var in order:
        if var in tensors and root(var) in joined:
            trees.setdefault(root(var), []).append(var)
    return [tree for tree in trees.values() if len(tree) > 1]


def _keeps_values(value: Expr) -> bool:
    kind = op_name(value)
    interpolates = kind == "image.resize2d" and str(value.attrs.method) != "nearest_neighbor"
    return kind in PASS_THROUGH and not interpolates


def _joined(each: Sequence[QParams]) -> QParams:
    """Parameters whose range holds those of ``each``."""
    pairs = [(params, np.iinfo(params.dtype)) for params in each]
    low = min((limit.min - int(params.zero_point)) * float(params.scale) for params, limit in pairs)
    high = max(
        (limit.max - int(params.zero_point)) * float(params.scale) for params, limit in pairs
    )
    return activation_qparams(low, high, "uint8")
