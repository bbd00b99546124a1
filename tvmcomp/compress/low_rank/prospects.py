"""What each operator of a network could lose in rank, what that saves on the target, and its harm.

Forms and ranks of each operator are timed beside the dense one, in turns; only those that are
faster stay, and of those none that another beats in time and loss. The harm of one is measured: the
noise at the network's outputs with that operator alone factored. To the second order it is
proportional to what the operator's results lose, from which the harm of other ranks follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.bias import has_bias
from tvmcomp.compress.cost import Compute, OperatorTimes
from tvmcomp.compress.fake_quantize import weights as roles
from tvmcomp.compress.fake_quantize.graph import Graph
from tvmcomp.compress.fake_quantize.lockstep import Lockstep, samples_that_fit
from tvmcomp.compress.fake_quantize.measure import Yardstick
from tvmcomp.compress.fake_quantize.plan import plan_model
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.compress.low_rank.forms import Factored, Form, factored, refusal
from tvmcomp.compress.low_rank.options import LowRankSettings
from tvmcomp.compress.low_rank.ranks import trial, trials
from tvmcomp.compress.low_rank.rewrite import replaced
from tvmcomp.compress.moments import gather
from tvmcomp.compress.network import TrainableNetwork
from tvmcomp.compress.samples import Sample

#: Of the dense operator's time: what takes more is not faster, as far as can be measured.
_FASTER = 0.95
_FACTORED = (roles.CONVOLUTION, roles.TRANSPOSED, roles.PRODUCT, roles.RECURRENT)


@dataclass(frozen=True)
class Candidate:
    """An operator in a form.

    Attributes:
        form: with its ranks.
        seconds: of a run of it on the target.
        factored: its factors; None before samples are seen.
        noise: that it makes at the network's outputs, as a share of their variance.
    """

    form: Form
    seconds: float
    factored: Factored | None = None
    noise: float = float("nan")

    @property
    def lost(self) -> float:
        """Share of the energy of the operator's results."""
        return self.factored.lost if self.factored else float("nan")


@dataclass(frozen=True)
class Prospect:
    """What an operator could lose.

    Attributes:
        weight: the operator's.
        seconds: of the dense operator.
        candidates: from slow to fast.
        reason: why there are none.
        given: the one candidate is asked for.
    """

    weight: Weight
    seconds: float
    candidates: tuple[Candidate, ...] = ()
    reason: str | None = None
    given: bool = False


def timed(
    model: onnx.ModelProto,
    times: OperatorTimes,
    compute: Compute,
    settings: LowRankSettings,
    step: Callable[[], None] = lambda: None,
) -> Iterator[Prospect]:
    """The operators of ``model``, a prepared graph, with what is faster than each; no sample is
    needed for that.

    Args:
        model: the network.
        times: on the target.
        compute: what the finished network's products are computed in.
        settings: what is asked for.
        step: is called after each operator.
    """
    graph = Graph(model)
    nodes = {node.name: node for node in graph.nodes}
    for weight in plan_model(model).weights:
        if weight.role not in _FACTORED or settings.keeps(weight.node, weight.kind):
            continue
        reason = refusal(graph, nodes[weight.node], weight)
        yield (
            Prospect(weight, 0.0, (), reason)
            if reason
            else _timed(model, weight, times, compute, settings)
        )
        step()


def _timed(
    model: onnx.ModelProto,
    weight: Weight,
    times: OperatorTimes,
    compute: Compute,
    settings: LowRankSettings,
) -> Prospect:
    dense, tried = trials(model, weight, times.target)
    rank = settings.rank(weight.node, weight.kind)
    if rank is not None:
        form = Form("narrow", (min(rank, _full_rank(weight)),))
        tried = {form: trial(dense, weight, form)}
    elif not tried:
        return Prospect(weight, 0.0, (), "no rank takes less work in whole vectors")
    cold = _weight_bytes(model, compute) > times.target.l2_kib * 2**10
    first, *rest = times.in_turns([dense, *tried.values()], compute, cold=cold)
    found = tuple(Candidate(form, each) for form, each in zip(tried, rest, strict=True))
    if rank is not None:
        return Prospect(weight, first, found, given=True)
    faster = tuple(each for each in found if each.seconds < _FASTER * first)
    if not faster:
        best = min(found, key=lambda each: each.seconds)
        return Prospect(
            weight, first, (),
            f"no rank is faster: {first * 1e6:.1f} us as it is, {best.seconds * 1e6:.1f} at "
            f"{best.form}",
        )  # fmt: skip
    return Prospect(weight, first, faster)


def _weight_bytes(model: onnx.ModelProto, compute: Compute) -> int:
    """Bytes of all constants, when the network runs."""
    size = 1 if compute == "int8" else 4
    return sum(size * math.prod(tensor.dims) for tensor in model.graph.initializer)


def _full_rank(weight: Weight) -> int:
    return min(weight.scales, math.prod(weight.shape) // weight.scales)


def with_factors(
    model: onnx.ModelProto,
    prospects: Sequence[Prospect],
    fit: Sequence[Sample],
    step: Callable[[], None] = lambda: None,
) -> list[Prospect]:
    """``prospects`` with their factors, fitted on samples, without those that others beat."""
    graph = Graph(model)
    nodes = {node.name: node for node in graph.nodes}
    open_ = {each.weight.node: each for each in prospects if each.candidates}
    running = Lockstep(TrainableNetwork(model), fit[: samples_that_fit(model, 1)])
    for index, node in enumerate(running.network.nodes):
        prospect = open_.get(node.name)
        if prospect is not None:
            weight = prospect.weight
            found = gather(weight, node, running.tensor(node.inputs[0]))
            corrected = has_bias(graph, nodes[node.name], weight)
            moments = found if corrected else found.about_zero()
            value = graph.constant(weight.tensor)
            assert value is not None
            (matrix,) = weight.matrices(value)
            candidates = [
                replace(each, factored=factored(weight, matrix, moments, each.form))
                for each in prospect.candidates
            ]
            open_[node.name] = replace(prospect, candidates=_unbeaten(candidates))
            step()
        running.run(index)
    return [open_.get(each.weight.node, each) for each in prospects]


def _unbeaten(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """From slow to fast: each loses more than what is slower."""
    kept: list[Candidate] = []
    for each in sorted(candidates, key=lambda candidate: (candidate.lost, candidate.seconds)):
        if not kept or each.seconds < kept[-1].seconds:
            kept.append(each)
    return tuple(kept)


def with_noise(
    model: onnx.ModelProto,
    prospects: Sequence[Prospect],
    watched: Sequence[Sample],
    step: Callable[[], None] = lambda: None,
) -> list[Prospect]:
    """``prospects`` with the noise that each candidate makes at the outputs of ``model``."""
    yardstick = Yardstick(model, watched)
    found = []
    for prospect in prospects:
        if prospect.candidates:
            middle = prospect.candidates[len(prospect.candidates) // 2]
            assert middle.factored is not None
            network = replaced(model, {prospect.weight.node: middle.factored})
            noise = yardstick.noise(BatchedNetwork(network, watched))
            share = noise / max(middle.lost, 1e-12)
            candidates = tuple(replace(c, noise=share * c.lost) for c in prospect.candidates)
            prospect = replace(prospect, candidates=candidates)
            step()
        found.append(prospect)
    return found


def chosen_factors(chosen: Mapping[str, Candidate]) -> dict[str, Factored]:
    """The factors of candidates, by node."""
    return {node: each.factored for node, each in chosen.items() if each.factored is not None}
