"""Networks that are built for their times alone: what they compute does not matter."""

from __future__ import annotations

from collections.abc import Collection

import onnx

from tvmcomp.compress.fake_quantize import finish
from tvmcomp.compress.fake_quantize.finish import INT4_OPSET
from tvmcomp.compress.fake_quantize.fold import fold_affine
from tvmcomp.compress.fake_quantize.insert import insert
from tvmcomp.compress.fake_quantize.opset import at_least
from tvmcomp.compress.fake_quantize.plan import plan_model
from tvmcomp.compress.fake_quantize.ranges import observe_ranges
from tvmcomp.compress.samples import Parts
from tvmcomp.quantize.config import DEFAULT_OBSERVER
from tvmcomp.quantize.rounding.codes import MOST_BITS

#: Samples that ranges are observed on.
_SAMPLES = 4


def in_integers(
    model: onnx.ModelProto, parts: Parts, in_float: Collection[str] = ()
) -> onnx.ModelProto:
    """A float network with all that can be in 8 bits, as the recipe of int8 alone writes it.

    Args:
        model: a prepared graph.
        parts: samples.
        in_float: nodes that stay in float.
    """
    folded = at_least(fold_affine(model), INT4_OPSET)
    plan = plan_model(folded, in_float)
    ranges = observe_ranges(folded, parts.fit[:_SAMPLES], list(plan.activations), DEFAULT_OBSERVER)
    bits = {weight.tensor: MOST_BITS for weight in plan.weights}
    return finish(insert(folded, plan, ranges, bits))
