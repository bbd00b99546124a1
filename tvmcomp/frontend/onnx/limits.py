"""What a model may ask for: each limit is stated here, and checked before the work that it bounds.

A file of a hundred bytes can name a tensor of a terabyte, or functions that unfold to a billion
nodes. Sizes are judged in proportion to what the model is made of, its inputs and its weights, so
that no network that somebody trained comes near a limit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx

from tvmcomp.errors import ModelError

#: Elements of a tensor: kernels count them in 32 bits.
MOST_ELEMENTS = 2**31 - 1
#: Bytes of a tensor that need no reason.
PLAIN_BYTES = 1 << 28
#: Bytes of all inputs.
INPUT_BYTES = 1 << 29
#: Larger tensors may take so many times the bytes of all inputs and weights,
GROWTH = 256
#: and all results of all nodes so many times the bytes of the largest one that is allowed.
TENSORS = 16
#: Dimensions of a tensor.
HIGHEST_RANK = 32
#: Elements that constant folding may add to a model, in all. What is over it is computed when the
#: network runs.
FOLDED_ELEMENTS = 1 << 24
#: Elements that a constant may have which ONNX's reference computes one by one, in Python,
LOOPED_ELEMENTS = 1 << 16
#: and multiplications of a product of constants: of floats by numpy, and by plain loops.
FOLDED_WORK = 1 << 33
UNSCHEDULED_WORK = 1 << 27
#: Terms of a sum that plain loops may fold; their float32 stops counting at 2^24.
FOLDED_SUM = 1 << 16
#: Nodes after functions are inlined, beside those that the file itself has.
INLINED_NODES = 50_000
#: Times that a loop may run which can't stay one, as each is written into the network, and nodes
#: that it may become.
MOST_TRIPS = 1024
UNROLLED_NODES = 20_000
#: A loop that becomes no more nodes than these is written out although it could stay one, unless
#: a condition of data may end it.
SHORT_NODES = 1_000
#: Trips of a loop whose counters are followed one by one.
COUNTED_TRIPS = 1 << 14
#: Functions that call each other.
DEEPEST_CALLS = 64
#: Outputs of one node.
MOST_OUTPUTS = 4096
#: Elements of the matrix that resizes an axis in other ways than nearest and plain linear.
RESIZE_ELEMENTS = 1 << 24
#: Sines and cosines of a Fourier transform: of 4,096 points.
TRANSFORM_ELEMENTS = 1 << 24
#: Operands of an Einsum, and steps of its loops.
EINSUM_OPERANDS = 8
EINSUM_WORK = 1 << 40


def tensor_limits(graph: onnx.GraphProto, *, where: str) -> TensorLimits:
    """Return the limits that suit the inputs, whose shapes are static, and weights of ``graph``.

    Raises:
        ModelError: an input exceeds a limit.
    """
    weights = sum(tensor.ByteSize() for tensor in graph.initializer)
    inputs = []
    for value in graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        inputs.append((value.name, shape, dtype.itemsize))
    size = sum(math.prod(shape) * item for _, shape, item in inputs)
    limits = TensorLimits(size, weights, where=where)
    for name, shape, item in inputs:
        limits.check(f"input {name!r}", shape, item)
    return limits


class TensorLimits:
    """The limits of a model's tensors, and what of them is used."""

    def __init__(self, input_bytes: int, weight_bytes: int, *, where: str) -> None:
        """Set the limits of a model whose inputs and weights are so many bytes.

        Raises:
            ModelError: the inputs are larger than their limit.
        """
        self.where = where
        self.bytes = max(PLAIN_BYTES, GROWTH * (input_bytes + weight_bytes))
        self._used = 0
        self._folded = 0
        if input_bytes > INPUT_BYTES:
            self.refuse(
                f"its inputs take {_mebibytes(input_bytes)}; the limit is {_mebibytes(INPUT_BYTES)}"
            )

    def restart(self) -> None:
        """Forget the tensors that were checked: all of them will be again."""
        self._used = 0

    def check(self, what: str, shape: Sequence[int], element_bytes: float) -> int:
        """Return the bytes of a tensor; refuse one too large or of too many dimensions.

        Args:
            what: names it in the error.
            shape: its dimensions.
            element_bytes: bytes of an element.

        Raises:
            ModelError: naming the limit.
        """
        if len(shape) > HIGHEST_RANK:
            self.refuse(f"{what} has {len(shape)} dimensions; the limit is {HIGHEST_RANK}")
        elements = math.prod(shape)
        if elements > MOST_ELEMENTS:
            self.refuse(f"{what} has {elements:,} elements; the limit is {MOST_ELEMENTS:,}")
        size = math.ceil(elements * element_bytes)
        if size > self.bytes:
            self.refuse(
                f"{what} takes {_mebibytes(size)}; the limit is {_mebibytes(self.bytes)}, "
                f"or {GROWTH} times all inputs and weights"
            )
        return size

    def count(self, what: str, size: int) -> None:
        """Count the bytes of a node's results.

        Raises:
            ModelError: all of them together exceed the limit.
        """
        self._used += size
        if self._used > TENSORS * self.bytes:
            self.refuse(
                f"its results take more than {_mebibytes(TENSORS * self.bytes)}, {TENSORS} times "
                f"the limit of one tensor, up to {what}"
            )

    def may_fold(self, elements_in: int, elements_out: int) -> bool:
        """Whether a constant of so many elements may take the place of its operands'; it counts."""
        added = max(0, elements_out - elements_in)
        if self._folded + added > FOLDED_ELEMENTS:
            return False
        self._folded += added
        return True

    def refuse(self, what: str) -> None:
        """Raise the error that a limit is exceeded."""
        raise ModelError(
            what,
            where=self.where,
            hint="Build it for smaller inputs (--shape), or compute this part outside the network.",
        )


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
