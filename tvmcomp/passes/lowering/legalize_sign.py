"""``relax.sign`` so that NaN stays NaN, and 0 keeps its sign: what is neither more nor less than 0
is its own sign.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.passes.rewriter import dtype_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Call, Expr

te, tirx = tvm.te, tvm.tirx


def legalize_sign(builder: Builder, call: Call) -> Expr:
    """The legalization of ``relax.sign``, for ``LegalizeOps``."""
    if not dtype_of(call.args[0]).startswith("float"):
        return call.op.get_attr("FLegalize")(builder, call)

    def compute(x: Expr) -> Expr:
        zero, one, minus_one = (tirx.const(number, x.dtype) for number in (0, 1, -1))

        def sign(*i: Any) -> Any:
            return tirx.Select(x[i] > zero, one, tirx.Select(x[i] < zero, minus_one, x[i]))

        return te.compute(x.shape, sign, name="sign")

    return builder.call_te(compute, call.args[0], primfunc_name_hint="sign")
