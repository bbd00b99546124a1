"""The anchor of a kernel: its convolution or matrix product, which the schedule is made for.

A matrix product ``[..., M, K] x [K, N]`` is a convolution whose leading dimensions are spatial and
whose window is one element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvmcomp.tvm_types import PrimExpr

#: Block attribute that tells :mod:`tvmcomp.schedules` which schedule an anchor takes.
ANCHOR = "tvmcomp.anchor"
#: Block attribute of a convolution: multiply-accumulates that the network asks for, no padding
#: counted.
MACS = "tvmcomp.macs"
#: Block attribute: it reads its first operand from the end of one row on into the next, so that
#: nothing may lie between them.
READS_FLAT = "tvmcomp.reads_flat"

#: Elements (before, after) each dimension.
Widths = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution over ``len(kernel)`` spatial dimensions.

    ``padding`` holds (before, after) a dimension; ``pad_value`` is what the padding reads as: the
    zero point of a quantized input.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    groups: int = 1
    pad_value: int = 0

    def output(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Spatial sizes of the output for an input of sizes ``spatial``."""
        return tuple(
            (size + before + after - (dil * (k - 1) + 1)) // stride + 1
            for size, k, stride, dil, (before, after) in zip(
                spatial, self.kernel, self.strides, self.dilation, self.padding, strict=True
            )
        )


@dataclass(frozen=True)
class Anchor:
    """What a convolution computes, without its numbers.

    Attributes:
        shape: of the data, ``[*lead, *S, C]``, without its border.
        window: the geometry.
        out_channels: O, of the result.
    """

    shape: tuple[int, ...]
    window: Window
    out_channels: int

    @property
    def lead(self) -> tuple[int, ...]:
        """The dimensions before the spatial ones."""
        return self.shape[: -1 - len(self.window.kernel)]

    @property
    def spatial(self) -> tuple[int, ...]:
        """S."""
        return self.shape[-1 - len(self.window.kernel) : -1]

    @property
    def channels(self) -> int:
        """C."""
        return self.shape[-1]

    @property
    def group_channels(self) -> int:
        """C of one group."""
        return self.channels // self.window.groups

    @property
    def output(self) -> tuple[int, ...]:
        """Spatial sizes of the result."""
        return self.window.output(self.spatial)

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself."""
        return self.window.groups == self.channels == self.out_channels > 1


def element(tensor: Any, *index: PrimExpr) -> Any:
    """The element of a TE tensor at ``index``."""
    return tensor[index]
