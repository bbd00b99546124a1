"""How to distil: how long, how fast, and what counts how much."""

from __future__ import annotations

import msgspec

from tvmcomp.errors import ConfigError


class DistilOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to distil.

    Attributes:
        budget: seconds that it may take; None for no limit.
        steps: the most that it takes; None for no limit but the budget.
        seed: of the order of samples and of their augmentation.
        batch: samples of a step; fewer where they would take too much memory.
        rate: share of its own size that a weight moves at a step, at the highest. (Of 0.0005,
            0.002, 0.005 and 0.02 it left the least loss on watched samples of two small networks
            whose weights were rounded to the nearest of 3 bits; on a third 0.005 did.)
        scale_rate: the same of a quantizer's scale.
        temperature: that scores are divided by before they are compared.
        block_weight: of what blocks give, beside the outputs. (Less loss on watched samples than
            with 10 on a small attention network, at a rate of 0.005.)
        label_weight: of labels beside the teacher's outputs, from 0 to 1.
        augment: whether samples are changed, in ways that the teacher does not mind.
    """

    budget: float | None = 600.0
    steps: int | None = None
    seed: int = 0
    batch: int = 32
    rate: float = 0.002
    scale_rate: float = 0.0004
    temperature: float = 2.0
    block_weight: float = 1.0
    label_weight: float = 0.5
    augment: bool = True

    def __post_init__(self) -> None:
        if self.budget is None and self.steps is None:
            raise ConfigError("distillation has no end: give it a budget of time, or of steps")
