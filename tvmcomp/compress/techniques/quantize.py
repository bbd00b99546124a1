"""Quantization: 8-bit integers to compute in, and fewer bits to store weights in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from tvmcomp.compress.technique import Applied, Run, Suggestion, Technique, technique
from tvmcomp.quantize.config import DEFAULT_MIN_SQNR_DB, DEFAULT_OBSERVER
from tvmcomp.quantize.reasons import IN_REGISTERS

if TYPE_CHECKING:
    import onnx

    from tvmcomp.compress.fake_quantize.planned import Plan

#: Operators that a note names.
_NAMED = 3


class OperatorRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the operators that a pattern matches are quantized.

    Attributes:
        bits: of their weights.
        dtype: ``float`` leaves them as they are.
    """

    bits: Annotated[int, msgspec.Meta(ge=2, le=8)] | None = None
    dtype: Literal["int8", "float"] = "int8"


class QuantizeOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to quantize. A pattern is a node's name, its operator (``Conv``) or a glob of either.

    Attributes:
        quant: what is computed in.
        bits: that weights are stored in, about, their scales included: up to 8 where fewer harm
            most, one less where they harm least.
        round: how weights are rounded.
        keep_float: patterns; short for rules with ``dtype = "float"``.
        min_sqnr_db: operators whose 8-bit activations do harm stay float, as few as keep this ratio
            of signal to noise at the outputs, in dB; ``off`` keeps none.
        size: in place of ``bits``: bytes that the weights may take.
        drop: in place of ``bits``: points that may be lost on the watched samples.
        values: with fewer bits than 8, which values a weight takes: ``even`` steps, or ``best``: of
            these and a code book of the same size what does less harm, weight by weight.
        observer: decides the ranges of activations; as in a quantization config.
        operators: rules, pattern to settings.
    """

    quant: Annotated[Literal["int8"], msgspec.Meta(description="Compute in 8-bit integers.")] = (
        "int8"
    )
    bits: (
        Annotated[
            int,
            msgspec.Meta(
                ge=2, le=8, description="Store weights in so many bits; compute in int8 as well."
            ),
        ]
        | None
    ) = None
    round: Annotated[
        Literal["gptq", "nearest"],
        msgspec.Meta(description="How weights are rounded  [default: gptq]."),
    ] = "gptq"
    keep_float: Annotated[
        tuple[str, ...],
        msgspec.Meta(description="Keep operators of this name, kind or glob in float; repeatable."),
    ] = ()
    min_sqnr_db: Annotated[float, msgspec.Meta(gt=0)] | Literal["off"] = DEFAULT_MIN_SQNR_DB
    size: Annotated[int, msgspec.Meta(ge=1)] | None = None
    drop: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    values: Literal["even", "best"] = "even"
    observer: str = DEFAULT_OBSERVER
    operators: dict[str, OperatorRule] = {}

    def __post_init__(self) -> None:
        goals = [n for n in ("bits", "size", "drop") if getattr(self, n) is not None]
        if len(goals) > 1:
            raise ValueError(f"{' and '.join(goals)} are two goals; give one")


@technique("quantize", place=50)
class Quantize:
    """Ranges from samples, weights rounded one after the other so that each makes up for the last.

    See :func:`tvmcomp.compress.fake_quantize.quantize_model`.
    """

    Options = QuantizeOptions
    chosen_by = ("quant", "bits", "size", "drop")
    summary = ""
    on_command_line = ("quant", "bits", "round", "keep_float")

    def __init__(self, options: QuantizeOptions) -> None:
        self.options = options

    def refuses(self, model: onnx.ModelProto, run: Run, before: Sequence[Technique]) -> str | None:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        return _refusal(model)

    @classmethod
    def suggests(cls, model: onnx.ModelProto) -> list[Suggestion]:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        if _refusal(model):
            return []
        elements, bytes_ = _weights(model)
        stored = f"{elements:,} weights, {bytes_ / 2**10:,.0f} KiB"
        return [
            Suggestion("--quant int8", f"computes in integers, and stores {stored}, in a quarter"),
            Suggestion("--bits 4", f"stores {stored}, in about an eighth, and computes in int8"),
        ]

    def apply(self, model: onnx.ModelProto, run: Run) -> Applied:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        from tvmcomp.compress.clusters.cluster_model import cluster_model
        from tvmcomp.compress.clusters.instead import clusters_instead
        from tvmcomp.compress.clusters.settings import ClusterSettings
        from tvmcomp.compress.fake_quantize import FakeQuantizeOptions, quantize_model

        options = self.options
        rules = options.operators
        floats = tuple(pattern for pattern, rule in rules.items() if rule.dtype == "float")
        quantized = quantize_model(
            model,
            run.parts,
            FakeQuantizeOptions(
                bits=options.bits or 8,
                size=options.size,
                drop=options.drop,
                rounding=options.round,
                observer=options.observer,
                keep_float=(*options.keep_float, *floats),
                min_sqnr_db=None if options.min_sqnr_db == "off" else options.min_sqnr_db,
                weight_bits={p: rule.bits for p, rule in rules.items() if rule.bits is not None},
            ),
            run.progress,
            clusters_instead if options.values == "best" else None,
        )
        made, notes = quantized.model, [*quantized.notes]
        if quantized.books:
            settings = ClusterSettings(0, quantized.books)
            made, _ = cluster_model(made, run.parts, settings, run.progress)
            named = [f"{count} of {node}" for node, count in quantized.books.items()]
            more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
            notes.append(f"values of code books: {', '.join(named[:_NAMED])}{more}")
        return Applied(made, (*notes, *_kept(quantized.plan)))


def _kept(plan: Plan) -> Iterator[str]:
    """What stays float and why, a sentence for each reason."""
    found: dict[str, list[str]] = {}
    for each in plan.operators:
        if each.reason and not each.quantized and each.reason != IN_REGISTERS:
            found.setdefault(each.reason, []).append(f"{each.node} ({each.kind})")
    for reason, nodes in found.items():
        more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
        yield f"in float: {', '.join(nodes[:_NAMED])}{more}: {reason}"


def _refusal(model: onnx.ModelProto) -> str | None:
    from tvmcomp.compress.fake_quantize.graph import is_quantized

    if is_quantized(model):
        return "the network is quantized already, and is built in integers as it is"
    if not _weights(model)[0]:
        return "the network has no weights that an operator of integers multiplies by"
    return None


def _weights(model: onnx.ModelProto) -> tuple[int, int]:
    """How many weights would be rounded, and their bytes."""
    from tvmcomp.compress.fake_quantize.plan import plan_model

    count = sum(math.prod(weight.shape) for weight in plan_model(model).weights)
    return count, 4 * count
