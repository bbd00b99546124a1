"""How a sparse kernel divides its work: the geometry, block sizes and their cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tvmcomp.schedules.anchor import Anchor
from tvmcomp.schedules.dot import DotKernel

#: Value of :data:`~tvmcomp.schedules.anchor.ANCHOR` on the accumulation.
SPARSE_CONV = "sparse_conv"
#: Block attribute: what :mod:`~tvmcomp.schedules.sparse.conv_schedule` has to know of the plan.
PLAN = "tvmcomp.sparse"


@dataclass(frozen=True)
class SparsePlan:
    """A kernel over blocks that are not zero.

    Attributes:
        anchor: the convolution, of one tap and one group, without padding.
        kernel: the dot product.
        pixels: of a task; what is left of a run of pixels is a task of fewer.
        vectors: of output channels in a block of the weight, and in a task.
        chains: blocks that are added up beside each other, for want of pixels to do so.
        count: blocks that are not zero.
    """

    anchor: Anchor
    kernel: DotKernel
    pixels: int
    vectors: int
    chains: int
    count: int

    @property
    def flat(self) -> bool:
        """Whether all pixels follow each other in the data as they do in the output."""
        return self.anchor.spatial == self.anchor.output

    @property
    def outer(self) -> tuple[int, ...]:
        """The dimensions around a run of pixels."""
        anchor = self.anchor
        return () if self.flat else (*anchor.lead, *anchor.output[:-1])

    @property
    def run(self) -> int:
        """Pixels at equal distances."""
        anchor = self.anchor
        return math.prod((*anchor.lead, *anchor.output)) if self.flat else anchor.output[-1]

    @property
    def width(self) -> int:
        """Output channels of a task."""
        return self.vectors * self.kernel.lanes

    @property
    def tasks(self) -> tuple[int, ...]:
        """The grid of tasks: ``(*outer, blocks of pixels, rows of blocks)``."""
        rows = -(-self.anchor.out_channels // self.width)
        return (*self.outer, -(-self.run // self.pixels), rows)
