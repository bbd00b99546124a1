"""Results of anchors counted in the steps of their output, as other tools' kernels count them.

    quantize(float(acc) * (s_x * s_w), s_y)  ->  quantize(float(acc) * (s_x * s_w / s_y), 1)

The sum is multiplied once, by one float32, and rounded: ONNX Runtime and XNNPACK do so, and what
lies near the middle of two steps falls to the same side only where there is one multiplication.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tvmcomp.passes.elementwise import clip_bounds
from tvmcomp.passes.integers.qdq import quantize_params
from tvmcomp.passes.rewriter import op_name
from tvmcomp.qparams import QParams, quantize

#: Quantization always commutes with these (:data:`PASS_THROUGH` has more, under conditions).
_MOVES = frozenset(["expand_dims", "flatten", "permute_dims", "reshape", "squeeze"])


def saturates(bounds: tuple[float, float], params: QParams) -> bool:
    """Whether clipping to ``bounds`` is no more than what saturation to the 8-bit type does."""
    limits = np.iinfo(params.dtype)
    return tuple(quantize(np.array(bounds, np.float32), params)) == (limits.min, limits.max)


def only_quantized(
    var: Any, users: Mapping[Any, Sequence[Any]], is_bias: Callable[[Any], bool]
) -> QParams | None:
    """The parameters of the ``quantize`` that alone reads an anchor's result.

    Args:
        var: the result.
        users: variable -> the bindings that read it, None for the function's output.
        is_bias: whether a variable is an addition that is a part of its anchor.

    Returns:
        None where something else reads it, or does more on the way than move or saturate it.
    """
    bounds: list[tuple[float, float]] = []
    readers = users[var]
    while len(readers) == 1 and readers[0] is not None:
        reader = readers[0]
        kind, clipped = op_name(reader.value), clip_bounds(reader.value)
        if kind == "quantize":
            params = quantize_params(reader.value)
            if params is None or params.axis is not None or params.dtype not in ("int8", "uint8"):
                return None
            return params if all(saturates(each, params) for each in bounds) else None
        if clipped is not None:
            bounds.append(clipped)
        elif kind not in _MOVES and not is_bias(reader.var):
            return None
        readers = users[reader.var]
    return None
