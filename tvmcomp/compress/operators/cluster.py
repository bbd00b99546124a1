"""``tvmcomp.Cluster``: a weight whose values are those of a code book, learned with it.

    y = book[nearest(x / scale)] * scale

``scale``, one an index of the node's axis, is left out where the book holds the weights
themselves; with it the book is of integers, from -127 to 127. The book learns from the gradients
of all weights that take a value (Han et al., "Deep Compression", arXiv:1510.00149), and a weight
may go over to another value: its own gradient passes as if it were not rounded. As FakeQuantize
does, it rounds its book to whole numbers and its scale to a bfloat16 and passes the gradients on,
so the network that is written out computes what the trained one did.
"""

from __future__ import annotations

import torch

from tvmcomp.compress.operators.fake_quantize import stored_scale
from tvmcomp.compress.operators.quantization import straight_through
from tvmcomp.compress.operators.table import Node, Tensor, operator
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN
from tvmcomp.quantize.rounding.codes import MOST_BITS

CLUSTER = "Cluster"
#: The largest integer of a code book.
LARGEST = 127


@operator(f"{DOMAIN}.{CLUSTER}")
def cluster(node: Node, x: Tensor, scale: Tensor | None, book: Tensor) -> Tensor:
    """``x`` of any shape; ``scale`` one an index of the node's axis, or None; ``book`` [N]."""
    step: Tensor | float = 1.0
    if scale is not None:
        axis = node["axis"] % x.ndim
        step = stored_scale(scale, MOST_BITS, narrow=True)
        step = step.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    levels = stored_book(book, integers=scale is not None)
    rounded = levels[indices(x / step, levels)] * step
    return rounded + (x - x.detach())


def stored_book(book: Tensor, *, integers: bool) -> Tensor:
    """The values of a code book as they are used and written out, ascending."""
    ordered: Tensor = torch.sort(book).values
    return torch.clamp(straight_through(ordered), -LARGEST, LARGEST) if integers else ordered


def indices(x: Tensor, levels: Tensor) -> Tensor:
    """The index of the value of the ascending ``levels`` that is nearest to each of ``x``."""
    middles = (levels[1:] + levels[:-1]) / 2
    return torch.bucketize(x.detach(), middles.detach())
