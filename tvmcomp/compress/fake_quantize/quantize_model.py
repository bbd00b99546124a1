"""From a float network to a fake-quantized one: plan, ranges, bits, codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import onnx

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.fake_quantize.bits import (
    Cost,
    about,
    descents,
    measure_costs,
    room_for,
    total_bytes,
)
from tvmcomp.compress.fake_quantize.equalize import equalized
from tvmcomp.compress.fake_quantize.finish import INT4_OPSET
from tvmcomp.compress.fake_quantize.fold import fold_affine
from tvmcomp.compress.fake_quantize.graph import Graph
from tvmcomp.compress.fake_quantize.harmful_operators import harmful_operators
from tvmcomp.compress.fake_quantize.insert import insert
from tvmcomp.compress.fake_quantize.measure import Yardstick
from tvmcomp.compress.fake_quantize.opset import at_least
from tvmcomp.compress.fake_quantize.options import FakeQuantizeOptions
from tvmcomp.compress.fake_quantize.patterns import matched
from tvmcomp.compress.fake_quantize.plan import plan_model
from tvmcomp.compress.fake_quantize.planned import Plan
from tvmcomp.compress.fake_quantize.ranges import observe_ranges
from tvmcomp.compress.fake_quantize.rounding import round_weights
from tvmcomp.compress.fake_quantize.ties import alike, with_one_range
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.compress.samples import Parts
from tvmcomp.errors import ConfigError
from tvmcomp.progress import Progress
from tvmcomp.quantize.rounding.codes import MOST_BITS

#: Samples that harm is measured with: each weight takes a run over them.
_MEASURED_WITH = 16


@dataclass(frozen=True)
class Quantized:
    """A network with FakeQuantize in it.

    Attributes:
        model: the network; :func:`tvmcomp.compress.fake_quantize.finish.finish` writes it out.
        bits: weight -> bits.
        plan: what is rounded, and why what is not is not.
        notes: what is to be known, a sentence each.
        books: operators whose weights are left in 8 bits, to take so many values of a code book:
            what ``instead`` said.
    """

    model: onnx.ModelProto
    bits: dict[str, int]
    plan: Plan
    notes: tuple[str, ...]
    books: dict[str, int] = field(default_factory=dict)


#: Which operators' weights are to be values of a code book, and how many: of the float network, its
#: weights, their bits, samples, and what is called after each weight.
Instead: TypeAlias = Callable[
    [onnx.ModelProto, Sequence[Weight], Mapping[str, int], Parts, Callable[[], None]],
    dict[str, int],
]


def quantize_model(
    model: onnx.ModelProto,
    parts: Parts,
    options: FakeQuantizeOptions,
    progress: Progress,
    instead: Instead | None = None,
) -> Quantized:
    """Fake-quantize ``model``: weights in few bits, activations in 8.

    Harm is what rounding does to ``model``: what steps before lost is no reason to round less.

    Args:
        model: a prepared graph.
        parts: ranges and codes are fitted on ``fit``, bits are chosen on ``watch``.
        options: how.
        progress: is told of each stage.
        instead: is asked where bits are chosen; None gives all weights even steps.

    Raises:
        CalibrationError: a tensor becomes NaN on the samples.
        ConfigError: a pattern matches nothing.
        ModelError: a node can't be computed in torch.
    """
    matched(options.weight_bits, model)
    kept = matched(options.keep_float, model)
    model = at_least(fold_affine(model), INT4_OPSET)
    plan = plan_model(model, kept)
    whole = model
    step = progress.stage("observing ranges")
    model = equalized(model, plan, parts.fit)
    observed = observe_ranges(model, parts.fit, list(plan.activations), options.observer)
    ranges, ties = with_one_range(observed, alike(model, plan))
    step()
    harmful: set[str] = set()
    if options.min_sqnr_db is not None:
        step = progress.stage("guarding accuracy")
        harmful = harmful_operators(
            model, kept, ranges, ties, whole, parts.watch, options.min_sqnr_db, step
        )
        plan = plan_model(model, kept, harmful)

    def quantized(bits: dict[str, int]) -> onnx.ModelProto:
        result = insert(model, plan, ranges, bits, ties)
        if options.rounding == "nearest":
            return result
        step = progress.stage("rounding weights", len(plan.weights))
        return round_weights(result, model, plan.weights, parts.fit, step)

    fixed = _fixed_bits(plan, options)
    goal = options.size is not None or options.drop is not None
    if len(fixed) == len(plan.weights) or not (goal or options.bits < MOST_BITS):
        bits = {weight.tensor: MOST_BITS for weight in plan.weights} | fixed
        return Quantized(quantized(bits), bits, plan, ())
    step = progress.stage("measuring harm", len(plan.weights))
    watched = parts.watch[:_MEASURED_WITH]
    costs = measure_costs(model, plan.weights, parts.fit, Yardstick(whole, watched), step)
    if options.drop is not None:
        yardstick = Yardstick(whole, parts.watch)
        return _fewest_for_drop(costs, fixed, options.drop, yardstick, quantized, plan)
    if options.size is not None:
        bits = _most_for_size(costs, fixed, options.size)
    else:
        free = {name: cost for name, cost in costs.items() if name not in fixed}
        chosen = [weight for weight in plan.weights if weight.tensor not in fixed]
        bits = about(free, options.bits, room_for(Graph(model), chosen, options.bits)) | fixed
    ordered = {weight.tensor: bits[weight.tensor] for weight in plan.weights}
    notes = tuple(_notes(plan, ordered, costs))
    books: dict[str, int] = {}
    if instead is not None:
        step = progress.stage("trying code books", len(plan.weights))
        books = instead(model, plan.weights, ordered, parts, step)
    finely = {w.tensor: MOST_BITS for w in plan.weights if w.node in books}
    return Quantized(quantized(ordered | finely), ordered, plan, notes, books)


def _fixed_bits(plan: Plan, options: FakeQuantizeOptions) -> dict[str, int]:
    """The bits that are no matter of choice."""
    fixed = {}
    for weight in plan.weights:
        given = options.given_bits(weight.node, weight.kind)
        if given is not None:
            fixed[weight.tensor] = given
    return fixed


def _most_for_size(
    costs: Mapping[str, Cost], fixed: Mapping[str, int], size: int
) -> dict[str, int]:
    smallest = float("inf")
    for bits in descents(costs, fixed):
        smallest = total_bytes(costs, bits)
        if smallest <= size:
            return bits
    raise ConfigError(
        f"the weights take {smallest:,.0f} bytes even with the fewest bits; {size:,} are asked for"
    )


def _fewest_for_drop(
    costs: Mapping[str, Cost],
    fixed: Mapping[str, int],
    drop: float,
    yardstick: Yardstick,
    quantized: Callable[[dict[str, int]], onnx.ModelProto],
    plan: Plan,
) -> Quantized:
    """The furthest descent whose network loses no more; 8 bits for all where even that does."""
    steps = list(descents(costs, fixed))
    low, high = 0, len(steps)
    best = quantized(steps[0])
    while high - low > 1:
        middle = (low + high) // 2
        tried = quantized(steps[middle])
        if yardstick.loss(BatchedNetwork(tried, yardstick.samples)) <= drop:
            low, best = middle, tried
        else:
            high = middle
    return Quantized(best, steps[low], plan, tuple(_notes(plan, steps[low], costs)))


def _notes(plan: Plan, bits: Mapping[str, int], costs: Mapping[str, Cost]) -> Iterator[str]:
    counts = Counter(bits.values())
    told = ", ".join(f"{counts[b]} of {b} bits" for b in sorted(counts, reverse=True))
    yield f"weights: {told}; about {total_bytes(costs, bits):,.0f} bytes when coded"
    most, fewest = max(counts), min(counts)
    named = [weight.node for weight in plan.weights if bits[weight.tensor] == most]
    if most != fewest and len(named) <= len(bits) // 2:
        yield f"{most} bits: {', '.join(named)}"
