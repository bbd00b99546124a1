"""Clusters: weights of few values, held by a code book."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from tvmcomp.compress.technique import Applied, Run, Suggestion, Technique, technique

if TYPE_CHECKING:
    import onnx


class ClusterRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the operators that a pattern matches get.

    Attributes:
        clusters: values of each of their weights.
        keep: leave them as they are.
    """

    clusters: Annotated[int, msgspec.Meta(ge=2, le=256)] | None = None
    keep: bool = False

    def __post_init__(self) -> None:
        if self.keep == (self.clusters is not None):
            raise ValueError("give clusters, or keep = true")


class ClusterOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many values. A pattern is a node's name, its operator (``Conv``) or a glob of either.

    Attributes:
        clusters: values that the weights of an operator take.
        operators: rules, pattern to settings.
    """

    clusters: Annotated[
        int,
        msgspec.Meta(
            ge=2,
            le=256,
            description="Let each operator's weights take so many values, which a code book holds; "
            "with --quant int8 they are integers.",
        ),
    ] = 16
    operators: dict[str, ClusterRule] = {}


@technique("cluster", place=60)
class Cluster:
    """Values by k-means on the samples' second moments, weights assigned one after the other.

    See :func:`tvmcomp.compress.clusters.cluster_model.cluster_model`.
    """

    Options = ClusterOptions
    chosen_by = ("clusters",)
    summary = ""
    on_command_line = ("clusters",)

    def __init__(self, options: ClusterOptions) -> None:
        self.options = options

    def refuses(self, model: onnx.ModelProto, run: Run, before: Sequence[Technique]) -> str | None:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        if any(getattr(step.options, "bits", None) not in (None, 8) for step in before):
            return "weights of fewer than 8 bits are of few values already; leave out --bits"
        return _refusal(model)

    @classmethod
    def suggests(cls, model: onnx.ModelProto) -> list[Suggestion]:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        if _refusal(model):
            return []
        return [Suggestion("--clusters 16", "stores weights in 4 bits, and computes in float")]

    def apply(self, model: onnx.ModelProto, run: Run) -> Applied:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        from tvmcomp.compress.clusters.cluster_model import cluster_model
        from tvmcomp.compress.clusters.settings import ClusterSettings

        rules = self.options.operators
        settings = ClusterSettings(
            self.options.clusters, {p: rule.clusters or 0 for p, rule in rules.items()}
        )
        made, notes = cluster_model(model, run.parts, settings, run.progress)
        return Applied(made, tuple(notes))


def _refusal(model: onnx.ModelProto) -> str | None:
    from tvmcomp.compress.fake_quantize.graph import is_quantized
    from tvmcomp.compress.fake_quantize.plan import plan_model

    if is_quantized(model):
        return "the network is quantized already"
    if not plan_model(model).weights:
        return "the network has no weights that an operator multiplies by"
    return None
