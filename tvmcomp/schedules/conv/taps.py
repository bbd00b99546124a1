"""The loops over a window, in TE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvmcomp.schedules.anchor import Window
from tvmcomp.tvm_import import tvm

te = tvm.te


def window_taps(window: Window) -> list[Any]:
    """The reduction axes over the taps of ``window``."""
    return [te.reduce_axis((0, size), name=f"k{d}") for d, size in enumerate(window.kernel)]


def input_index(window: Window, out_index: Sequence[Any], taps: Sequence[Any]) -> list[Any]:
    """Where the padded data has what ``taps`` of the window at ``out_index`` read."""
    return [
        x * stride + tap * dil
        for x, stride, tap, dil in zip(
            out_index, window.strides, taps, window.dilation, strict=True
        )
    ]
