"""Count the multiply-accumulates of a Relax operator."""

from __future__ import annotations

import math

from tvmcomp.block_weights import BLOCK_MATMUL
from tvmcomp.recurrent import RECURRENT, cell_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr

_CONVOLUTIONS = ("relax.nn.conv1d", "relax.nn.conv2d", "relax.nn.conv3d")
_TRANSPOSED = tuple(f"{name}_transpose" for name in _CONVOLUTIONS)


def macs(call: Call) -> int:
    """Return how many multiply-accumulates ``call`` takes for one inference.

    Convolutions (plain and transposed, in any layout), matrix products and the products with a
    recurrent layer's state count, on static shapes; any other expression is 0.
    """
    if not isinstance(call, tvm.ir.Call) or not isinstance(call.op, tvm.ir.Op):
        return 0
    name = call.op.name
    if name in ("relax.matmul", f"relax.{BLOCK_MATMUL}"):
        # Each element of the result sums over the left side's last axis.
        return _elements(call) * _shape(call.args[0])[-1]
    if name == f"relax.{RECURRENT}":
        # Each number of the projected input is added to a sum over the units.
        return _elements(call.args[0]) * cell_of(call).units
    if name not in (*_CONVOLUTIONS, *_TRANSPOSED):
        return 0
    kernel = dict(zip(str(call.attrs.kernel_layout), _shape(call.args[1]), strict=True))
    taps = math.prod(size for axis, size in kernel.items() if axis not in "IO")
    if name in _CONVOLUTIONS:
        # The kernel's input axis holds the channels of one group already.
        return _elements(call) * kernel["I"] * taps
    # Each input element meets every tap of every output channel of its group.
    return _elements(call.args[0]) * kernel["O"] * taps


def _shape(expr: Expr) -> list[int]:
    return [int(dim) for dim in expr.ty.shape]


def _elements(expr: Expr) -> int:
    return math.prod(_shape(expr))
