"""Choose the blocks of a sparse kernel, and whether it should be faster than the dense one.

A model of a core's inner loop. The dense kernel multiplies whenever it can. The sparse one has few
channels to share a pixel's data among, so that its loads may take longer than its products; and it
is as good only where whole blocks are zero. The constants come from LLVM's model of the Cortex-A72
and A76 (``llvm-mca`` of the compiled loops, ``benchmarks.compress sparse``) and from a Zen 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tvmcomp.schedules.amx.choose import plan_amx
from tvmcomp.schedules.anchor import Anchor
from tvmcomp.schedules.dot import DotKernel, bytes_kernel
from tvmcomp.schedules.dot_intrinsic import EMITTED
from tvmcomp.schedules.sparse.pattern import nonzero_blocks
from tvmcomp.schedules.sparse.plan import SparsePlan
from tvmcomp.targets import TargetDescription

#: A weight with a smaller share of zeros than this is dense.
FEWEST_ZEROS = 0.1
#: Most vectors of output channels in a block, and most pixels in a task.
_VECTORS, _MOST_PIXELS = (1, 2, 4), 16
#: Fewer pixels than this are not worth a block of their own in a small cache.
_FEWEST_PIXELS = 4
#: Sums that hide the latency of a multiply-add.
_IN_FLIGHT = 4
#: What a task costs beside its blocks, in multiply-adds: its bounds, zeros, the loop's end.
_TASK = 16.0


@dataclass(frozen=True)
class SparseChoice:
    """A sparse kernel that may be faster.

    Attributes:
        plan: of the kernel.
        zeros: share of the weight's blocks that are zero.
        gain: the dense kernel's time over this one's, by the model.
    """

    plan: SparsePlan
    zeros: float
    gain: float


def choose_sparse(
    anchor: Anchor, weight: np.ndarray, dense: DotKernel, target: TargetDescription
) -> SparseChoice | None:
    """The best sparse kernel for a weight.

    Args:
        anchor: the convolution.
        weight: ``[O, *K, C / groups]``.
        dense: the dot product that it would be computed with otherwise.
        target: the device.

    Returns:
        None where there is none: for other than one tap, one group and no padding, types that no
        sparse kernel has, and dense weights.
    """
    kernel = sparse_kernel(dense, target)
    window = anchor.window
    if kernel is None or window.groups != 1 or any(map(any, window.padding)):
        return None
    if any(size != 1 for size in window.kernel) or anchor.channels < kernel.depth:
        return None
    if np.mean(weight == 0) < FEWEST_ZEROS or plan_amx(anchor, dense, target) is not None:
        return None
    matrix = weight.reshape(len(weight), -1)
    return max(_choices(anchor, matrix, kernel, dense, target), key=lambda choice: choice.gain)


def sparse_kernel(dense: DotKernel, target: TargetDescription) -> DotKernel | None:
    """The dot product of a sparse kernel; None for types that none has."""
    if dense.weight == "int8":
        kernel = bytes_kernel(target)  # Of pairs of pixels there is none.
        return kernel if kernel.intrin in EMITTED else None
    return dense if dense.data == dense.weight == "float32" else None


def _choices(
    anchor: Anchor,
    matrix: np.ndarray,
    kernel: DotKernel,
    dense: DotKernel,
    target: TargetDescription,
) -> Iterator[SparseChoice]:
    for vectors in _VECTORS:
        found = nonzero_blocks(matrix, kernel, vectors)
        plan = SparsePlan(anchor, kernel, 1, vectors, 1, int(found.sum()))
        pixels = _pixels(plan, target)
        if pixels < 1:
            continue
        chains = next(n for n in (1, 2, 4) if n * pixels * vectors >= _IN_FLIGHT or n == 4)
        count = int((-(-found.sum(axis=1) // chains) * chains).sum())
        plan = SparsePlan(anchor, kernel, pixels, vectors, chains, count)
        # Two steps over widened data take about what one over bytes does.
        gain = _dense_cost(anchor, kernel if dense.staged else dense) / _sparse_cost(plan, target)
        yield SparseChoice(plan, 1 - float(found.mean()), gain)


def _pixels(plan: SparsePlan, target: TargetDescription) -> int:
    """Pixels of a task: what the registers hold, shared out evenly over a run; 0 if none fits."""
    kernel, vectors = plan.kernel, plan.vectors
    # A vector of weights is widened into two; and there are the data of two pixels.
    weights = 2 * vectors if kernel.temporaries and target.family == "x86" else vectors
    free = target.vector_registers - kernel.temporaries - weights - 2
    item = np.dtype(kernel.data).itemsize
    in_cache = (target.l1_kib << 10) // 2 // (plan.anchor.channels * item)
    most = min(free // vectors, _MOST_PIXELS, max(_FEWEST_PIXELS, in_cache))
    if most < 1:
        return 0
    return -(-plan.run // -(-plan.run // most))


def _dense_cost(anchor: Anchor, kernel: DotKernel) -> float:
    """Multiply-adds of vectors that the dense kernel takes."""
    vectors = -(-anchor.out_channels // kernel.lanes)
    steps = -(-anchor.channels // kernel.depth)
    return _count(anchor) / kernel.pixels * vectors * steps


def _sparse_cost(plan: SparsePlan, target: TargetDescription) -> float:
    """What the sparse kernel takes, in the same unit."""
    pixels, vectors = plan.pixels, plan.vectors
    products = pixels * vectors
    loads = pixels + vectors + 1
    # NEON's dot products of integers take data that was copied to all lanes by an instruction.
    copies = pixels if target.family == "arm" and plan.kernel.depth > 1 else 0
    block = max(products + copies, loads)
    runs = _count(plan.anchor) / pixels
    return runs * (plan.count * block + plan.tasks[-1] * _TASK)


def _count(anchor: Anchor) -> int:
    """Pixels of the output."""
    return int(np.prod((*anchor.lead, *anchor.output)))
