"""Refuse to quantize what integers can't hold: constants that are no numbers."""

from __future__ import annotations

import numpy as np

from tvmcomp.errors import ModelError
from tvmcomp.passes.operator_kinds import ANCHORS
from tvmcomp.passes.rewriter import const_value, main_bindings, op_name
from tvmcomp.tvm_types import Binding, Module

#: Operators that are named in one message.
_MOST_NAMED = 3


def check_finite(mod: Module) -> None:
    """Raise ModelError where a constant of ``mod`` holds NaN, or a weight NaN or infinity.

    A quantized tensor has 0 in the place of NaN: a broken network would give finite scores. An
    infinity that is added (the mask of an attention) is no fault.
    """
    found = [
        str(binding.var.name) for binding in main_bindings(mod) or [] if not _is_finite(binding)
    ]
    if found:
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        raise ModelError(
            f"the constants of {', '.join(found[:_MOST_NAMED])}{more} hold NaN, or weights that "
            "are infinite, which 8-bit integers can't carry",
            hint="Export the model again from sound weights, or build it in float, where NaN "
            "reaches the outputs; `allow_nan = true` in the quantization config builds it so.",
        )


def _is_finite(binding: Binding) -> bool:
    call = binding.value
    for position, arg in enumerate(getattr(call, "args", ())):
        value = const_value(arg)
        if value is None or value.dtype.kind != "f":
            continue
        is_weight = position == 1 and op_name(call) in ANCHORS
        if np.isnan(value).any() or (is_weight and np.isinf(value).any()):
            return False
    return True
