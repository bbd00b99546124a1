"""Operators whose 8-bit activations harm the network stay float, as ``build --quant int8`` has it.

The harm is measured on samples that no range was fitted on, with weights of 8 bits: what fewer bits
do to a weight is a matter of its bits, and no reason to compute in float.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import onnx

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.fake_quantize.insert import insert
from tvmcomp.compress.fake_quantize.measure import Yardstick
from tvmcomp.compress.fake_quantize.plan import plan_model
from tvmcomp.compress.fake_quantize.planned import Plan
from tvmcomp.compress.samples import Sample
from tvmcomp.qparams import QParams
from tvmcomp.quantize.fewest import fewest
from tvmcomp.quantize.noisy_groups import ranked_groups
from tvmcomp.quantize.rounding.codes import MOST_BITS

#: Samples that rank the operators by harm, and that decide.
_RANKING, _JUDGING = 8, 64
#: Measurements that rank them, at most.
_RANKINGS = 64


def harmful_operators(
    model: onnx.ModelProto,
    kept: Collection[str],
    ranges: Mapping[str, QParams],
    ties: Mapping[str, str],
    whole: onnx.ModelProto,
    watched: Sequence[Sample],
    min_sqnr_db: float,
    step: Callable[[], None],
) -> set[str]:
    """The nodes that are to stay float beside ``kept``.

    Args:
        model: a prepared graph.
        kept: nodes that stay float anyway.
        ranges: tensor -> its parameters.
        ties: as of :func:`~tvmcomp.compress.fake_quantize.insert.insert`.
        whole: the network before anything is rounded, which the outputs are compared with.
        watched: samples that nothing was fitted on.
        min_sqnr_db: the ratio of signal to noise that the outputs must keep.
        step: is called after each measurement.
    """
    every = [each.node for each in plan_model(model, kept).operators if each.reads]
    if not every or not watched:
        return set()

    def measured_by(samples: Sequence[Sample]) -> Callable[[Collection[str]], float]:
        yardstick = Yardstick(whole, samples)

        def sqnr_db(rounded: Collection[str]) -> float:
            plan = plan_model(model, {*kept, *(set(every) - set(rounded))})
            step()
            return yardstick.sqnr_db(_network(model, plan, ranges, ties, samples))

        return sqnr_db

    judged = measured_by(watched[:_JUDGING])
    if judged(every) >= min_sqnr_db:
        return set()
    ranked_by = measured_by(watched[:_RANKING])
    groups = ranked_groups(every, ranked_by, min_sqnr_db, _RANKINGS)
    ranked = [name for group in groups for name in group.names]
    found = fewest(ranked, lambda keep: judged(set(every) - keep) >= min_sqnr_db)
    return set(ranked) if found is None else found


def _network(
    model: onnx.ModelProto,
    plan: Plan,
    ranges: Mapping[str, QParams],
    ties: Mapping[str, str],
    samples: Sequence[Sample],
) -> BatchedNetwork:
    bits = {weight.tensor: MOST_BITS for weight in plan.weights}
    return BatchedNetwork(insert(model, plan, ranges, bits, ties), samples)
