"""Operators that become other kernels than TVM's."""

from __future__ import annotations

from collections.abc import Callable

from tvmcomp.passes.lowering.legalize_extreme import legalize_extreme
from tvmcomp.passes.lowering.legalize_quantize import legalize_quantize
from tvmcomp.passes.lowering.legalize_roi_align import legalize_roi_align
from tvmcomp.passes.lowering.legalize_sign import legalize_sign
from tvmcomp.tvm_types import Builder, Call, Expr

#: Operators of which a GPU keeps TVM's kernels: its schedules of reductions know where those begin.
_ON_CPUS = ("relax.max", "relax.min")

#: Operator -> its legalization, for ``LegalizeOps``.
LEGALIZATIONS: dict[str, Callable[[Builder, Call], Expr]] = {
    "relax.max": legalize_extreme,
    "relax.min": legalize_extreme,
    "relax.quantize": legalize_quantize,
    "relax.sign": legalize_sign,
    "relax.vision.roi_align": legalize_roi_align,
}


def legalizations(family: str) -> dict[str, Callable[[Builder, Call], Expr]]:
    """Those for a family of targets."""
    if family != "cuda":
        return LEGALIZATIONS
    return {name: rule for name, rule in LEGALIZATIONS.items() if name not in _ON_CPUS}
