"""Tell fusion what kernels of ours can be fused with: its own analysis does not see it."""

from __future__ import annotations

from tvmcomp.passes.elementwise import ELEMENT_WISE_KERNEL, EPILOGUE_KERNEL
from tvmcomp.schedules.op_pattern import OpPattern
from tvmcomp.tvm_types import Module

_PATTERNS = {ELEMENT_WISE_KERNEL: OpPattern.ELEMENT_WISE, EPILOGUE_KERNEL: OpPattern.OUT_FUSABLE}


def mark_patterns(mod: Module) -> Module:
    """Change ``mod``: each kernel with such a mark gets the pattern that it stands for."""
    for var, func in mod.functions.items():
        for mark, pattern in _PATTERNS.items():
            if func.attrs and mark in func.attrs.keys():  # noqa: SIM118  not a dict
                mod.update_func(var, func.with_attr("op_pattern", int(pattern)))
    return mod
