"""``relax.quantize`` in few instructions: it ends the epilogue of every integer kernel.

    clip(x * (1 / scale), qmin - zero_point, qmax - zero_point), rounded half to even, + zero_point

TVM's own legalization divides, and a division takes longer than the rest of an epilogue. Rounding
and the conversion to an integer are one addition: behind ``1.5 * 2**23`` a float32 has no bits for
a fraction left, and its last bits are the integer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.passes.integers.qdq import quantize_params
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Call, Expr

te, tirx = tvm.te, tvm.tirx
_ROUNDING = np.float32(1.5 * 2**23)


def legalize_quantize(builder: Builder, call: Call) -> Expr:
    """The legalization of ``relax.quantize``, for ``LegalizeOps``."""
    params = quantize_params(call)
    if params is None or params.axis is not None or params.dtype not in ("int8", "uint8"):
        return _by_tvm(builder, call)
    with np.errstate(divide="ignore", over="ignore"):
        factor = np.float32(1) / np.float32(params.scale)
    if not np.isfinite(factor):
        return _by_tvm(builder, call)
    limits, zero_point = np.iinfo(params.dtype), int(params.zero_point)
    lowest, highest = (float(limit - zero_point) for limit in (limits.min, limits.max))
    shift = zero_point - int(_ROUNDING.view(np.int32))

    def compute(x: Expr) -> Expr:
        def integer(*i: Any) -> Any:
            steps = x[i] * tirx.const(float(factor), "float32")
            low, high = (tirx.const(limit, "float32") for limit in (lowest, highest))
            rounded = te.max(te.min(steps, high), low) + tirx.const(float(_ROUNDING), "float32")
            whole = tirx.reinterpret("int32", rounded) + tirx.const(shift, "int32")
            return whole.astype(params.dtype)

        return te.compute(x.shape, integer, name="quantized")

    return builder.call_te(compute, call.args[0], primfunc_name_hint="quantize")


def _by_tvm(builder: Builder, call: Call) -> Expr:
    return call.op.get_attr("FLegalize")(builder, call)
