"""From a network to one whose weights are factored, where that is faster and does little harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import onnx

from tvmcomp.compress.cost import Compute, OperatorTimes
from tvmcomp.compress.fake_quantize.patterns import matched
from tvmcomp.compress.low_rank.choose import Choice, descents, saved
from tvmcomp.compress.low_rank.options import LowRankSettings
from tvmcomp.compress.low_rank.prospects import Prospect, chosen_factors
from tvmcomp.compress.low_rank.refit import refitted
from tvmcomp.compress.low_rank.rewrite import replaced
from tvmcomp.compress.low_rank.study import study
from tvmcomp.compress.samples import Parts
from tvmcomp.progress import Progress

#: Of the network's time: what is not saved by more is not told from chance.
_WORTH = 0.02
#: Operators that a note names.
_NAMED = 4


@dataclass(frozen=True)
class Factorized:
    """A network with weights in factors.

    Attributes:
        model: the network; the one that was given where nothing pays.
        prospects: what each operator could lose.
        chosen: what became of which.
        notes: what is to be known, a sentence each.
    """

    model: onnx.ModelProto
    prospects: tuple[Prospect, ...]
    chosen: Choice
    notes: tuple[str, ...]


def factorize(
    model: onnx.ModelProto,
    lost: Callable[[onnx.ModelProto], float],
    parts: Parts,
    settings: LowRankSettings,
    times: OperatorTimes,
    compute: Compute,
    progress: Progress,
) -> Factorized:
    """Write operators of ``model`` by factors of lower rank.

    Args:
        model: a prepared graph.
        lost: points that a network loses on the watched samples.
        parts: factors are fitted on ``fit``; their harm is measured on ``watch``.
        settings: how far.
        times: on the target.
        compute: what the finished network's products are computed in.
        progress: is told of each stage.

    Raises:
        ConfigError: a pattern matches nothing.
        TvmcompError: an operator can't be built or computed.
    """
    matched((*settings.ranks, *settings.kept), model)
    prospects = study(model, parts, settings, times, compute, progress)
    if not any(each.candidates for each in prospects):
        return Factorized(model, tuple(prospects), {}, tuple(_dense(prospects, {}, False)))
    if settings.faster is not None:
        choice = _faster(model, prospects, settings.faster, times, compute)
    else:
        choice = _for_drop(model, lost, prospects, settings.drop)
    notes: list[str] = []
    small = replaced(model, chosen_factors(choice)) if choice else model
    if choice:
        step = progress.stage("fitting factors", len(choice))
        small = refitted(model, small, chosen_factors(choice), parts.fit, step)
        before, after = times.in_turns([model, small], compute, again=True)
        told = "measured" if times.measured else "modelled"
        notes.append(f"the network takes {_ms(before)} as it was, {_ms(after)} so ({told})")
        if after > (1 - _WORTH) * before and not any(each.given for each in prospects):
            notes.append("as a whole that is no faster: nothing was factored")
            small, choice = model, {}
    notes += [*_factored(prospects, choice), *_dense(prospects, choice, True)]
    return Factorized(small, tuple(prospects), choice, tuple(notes))


def _faster(
    model: onnx.ModelProto,
    prospects: Sequence[Prospect],
    times_as_fast: float,
    times: OperatorTimes,
    compute: Compute,
) -> Choice:
    """The first descent with which the network as a whole is so fast; the last where none is.

    Times of operators by themselves say where to begin; from there each try goes half of the way
    that is left.
    """
    steps = list(descents(prospects))
    (whole,) = times.in_turns([model], compute)
    wanted = whole / times_as_fast
    at = next(
        (i for i, each in enumerate(steps) if whole - saved(prospects, each) <= wanted),
        len(steps) // 2,
    )
    while at < len(steps) - 1:
        small = replaced(model, chosen_factors(steps[at]))
        before, after = times.in_turns([model, small], compute, again=True)
        if after * times_as_fast <= before:
            break
        at += (len(steps) - at) // 2
    return steps[at]


def _for_drop(
    model: onnx.ModelProto,
    lost: Callable[[onnx.ModelProto], float],
    prospects: Sequence[Prospect],
    drop: float,
) -> Choice:
    """The furthest descent that loses no more than ``drop`` beyond what ``model`` lost before."""
    steps = list(descents(prospects))
    allowed = drop + lost(model)
    low, high = 0, len(steps)
    while high - low > 1:
        middle = (low + high) // 2
        if lost(replaced(model, chosen_factors(steps[middle]))) <= allowed:
            low = middle
        else:
            high = middle
    return steps[low]


def _factored(prospects: Sequence[Prospect], choice: Choice) -> Iterator[str]:
    made = [each for each in prospects if each.weight.node in choice]
    if made:
        named = ", ".join(
            f"{each.weight.node} to {candidate.form} ({each.seconds * 1e6:.1f} to "
            f"{candidate.seconds * 1e6:.1f} us)"
            for each in made[:_NAMED]
            for candidate in [choice[each.weight.node]]
        )
        more = f" and {len(made) - _NAMED} more" if len(made) > _NAMED else ""
        yield f"factored {len(made)} of {len(prospects)} operators: {named}{more}"


def _dense(prospects: Sequence[Prospect], choice: Choice, harmed: bool) -> Iterator[str]:
    """What stays as it is and why, a sentence for each reason."""
    found: dict[str, list[str]] = {}
    for each in prospects:
        if each.weight.node in choice:
            continue
        reason = each.reason or "each rank that is faster does too much harm for what it saves"
        # Times differ from operator to operator: they stand behind the first.
        found.setdefault(reason.partition(":")[0], []).append(f"{each.weight.node}|{reason}")
    for kind, named in found.items():
        first, _, reason = named[0].partition("|")
        more = f" and {len(named) - 1} more" if len(named) > 1 else ""
        yield f"as they are: {first}{more}: {reason or kind}"
    if not choice and not harmed:
        yield "no operator of this network is faster with a lower rank on the target"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms"
