"""What each choice harms by itself: noise at the outputs over their variance, on samples.

Formats: a unit alone is rounded to 8 bits, weights and what it reads; fewer bits of its weights add
what they do, by GPTQ. Channels: those worth least of a group are read as their means. Whether what
was harmed can be mended is not asked here: whole networks tell that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.channels.groups import Group, Groups
from tvmcomp.compress.channels.importance import channel_means
from tvmcomp.compress.channels.mask import masked
from tvmcomp.compress.fake_quantize.bits import Cost, measure_costs
from tvmcomp.compress.fake_quantize.fold import fold_affine
from tvmcomp.compress.fake_quantize.insert import insert
from tvmcomp.compress.fake_quantize.measure import Yardstick
from tvmcomp.compress.fake_quantize.plan import plan_model
from tvmcomp.compress.fake_quantize.planned import Plan
from tvmcomp.compress.fake_quantize.ranges import observe_ranges
from tvmcomp.compress.samples import Parts, Sample
from tvmcomp.quantize.config import DEFAULT_OBSERVER
from tvmcomp.quantize.rounding.codes import MOST_BITS
from tvmcomp.search.folder import Folder

#: Samples that harm is measured on: each choice takes a run over them.
MEASURED_WITH = 32


class Harms:
    """Measures harms of a network's choices, each once.

    Attributes:
        plan: what would be rounded of the whole network.
    """

    def __init__(self, model: onnx.ModelProto, parts: Parts, folder: Folder) -> None:
        """Args:
        model: a prepared graph in float.
        parts: ranges are fitted on ``fit``; harm is measured on ``watch``.
        folder: keeps what was measured.
        """
        self._model, self._parts, self._folder = model, parts, folder
        self._folded = fold_affine(model)
        self.plan: Plan = plan_model(self._folded)
        self._watched: Sequence[Sample] = parts.watch[:MEASURED_WITH]
        self._yardstick = Yardstick(model, self._watched)
        self._ranges = observe_ranges(
            self._folded, parts.fit, list(self.plan.activations), DEFAULT_OBSERVER
        )

    def bits(self, step: Callable[[], None]) -> dict[str, Cost]:
        """Of each weight in few bits, by its tensor."""
        known = self._folder.known("harm", "bits")
        if known is not None:
            return {name: Cost(**each) for name, each in known.items()}
        began = time.monotonic()
        costs = measure_costs(
            self._folded, self.plan.weights, self._parts.fit, self._yardstick, step
        )
        found = {
            name: {"noise": float(c.noise), "entropy": c.entropy, "count": int(c.count)}
            for name, c in costs.items()
        }
        self._folder.keep("harm", "bits", began, found)
        return costs

    def integers(self, unit: str, nodes: Collection[str]) -> float:
        """Of a unit's operators with weights, ``nodes``, alone in 8 bits."""

        def measured() -> float:
            others = {weight.node for weight in self.plan.weights} - set(nodes)
            plan = plan_model(self._folded, others)
            bits = {weight.tensor: MOST_BITS for weight in plan.weights}
            ranges = {name: self._ranges[name] for name in plan.activations if name in self._ranges}
            if len(ranges) < len(plan.activations):
                ranges = observe_ranges(
                    self._folded, self._parts.fit, list(plan.activations), DEFAULT_OBSERVER
                )
            return self._noise(insert(self._folded, plan, ranges, bits))

        return self._kept(f"int8 {unit}", measured)

    def channels(
        self,
        groups: Groups,
        group: Group,
        gone: Sequence[int],
        means: Mapping[str, NDArray[np.float32]],
    ) -> float:
        """Of a group without the classes ``gone``."""

        def measured() -> float:
            return self._noise(masked(groups, gone, means).model)

        return self._kept(f"channels {group.name} {len(gone)}", measured)

    def means(self, groups: Groups) -> Mapping[str, NDArray[np.float32]]:
        """What is read in the place of channels that are gone."""
        return channel_means(groups, self._parts.fit)

    def _kept(self, key: str, measured: Callable[[], float]) -> float:
        known = self._folder.known("harm", key)
        if known is None:
            began = time.monotonic()
            known = {"noise": measured()}
            self._folder.keep("harm", key, began, known)
        return float(known["noise"])

    def _noise(self, model: onnx.ModelProto) -> float:
        return self._yardstick.noise(BatchedNetwork(model, self._watched))
