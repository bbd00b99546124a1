"""``tvmcomp.FakeQuantize``: a tensor rounded to integers and back, its scale learned with it.

    y = (clamp(round(x / scale) + zero_point, low, high) - zero_point) * scale

What is rounded passes its gradient as if it were not; beyond the range there is none. Scale and
zero point are parameters with the gradients of LSQ (Esser et al., "Learned Step Size Quantization",
arXiv:1902.08153) and LSQ+ (Bhalgat et al., arXiv:2004.09576), a step of ``scale`` at a time:

    dy/dscale = round(x / scale) - x / scale   within the range, low or high - zero_point beyond it
    dy/dzero  = 0                              within the range, -scale beyond it

both times ``1 / sqrt(n * high)``, where n values share the scale: else the sum over them would
drown the gradients of the weights. What integers can't hold is no state of the operator: it rounds
its zero point, and a weight's scale to the bfloat16 that an artifact stores, and passes the
gradients on; so the network that is written out computes what the trained one did.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch

from tvmcomp.compress.operators.quantization import straight_through
from tvmcomp.compress.operators.table import Node, Tensor, operator
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN
from tvmcomp.qparams import MIN_SCALE
from tvmcomp.quantize.rounding.codes import MOST_BITS
from tvmcomp.quantize.rounding.weight_scales import SCALE_BITS

FAKE_QUANTIZE = "FakeQuantize"


def code_range(bits: int, *, signed: bool, narrow: bool) -> tuple[int, int]:
    """The least and the largest integer."""
    if not signed:
        return 0, int(2**bits) - 1
    half = int(2 ** (bits - 1))
    return -half + int(narrow), half - 1


def stored_scale(scale: Tensor, bits: int = MOST_BITS, *, narrow: bool) -> Tensor:
    """``scale`` as it is used and written out: positive; a weight's as its artifact stores it, a
    bfloat16 of 8 bits, and of 5 significant bits where the weight has fewer."""
    positive = scale.abs().clamp(min=float(MIN_SCALE))
    if not narrow:
        return positive
    if bits == MOST_BITS:
        kept = positive.bfloat16().to(positive.dtype)
    else:
        share, exponent = torch.frexp(positive)
        kept = torch.ldexp(torch.round(share * 2**SCALE_BITS) / 2**SCALE_BITS, exponent)
    return positive + (kept - positive).detach()


def stored_zero_point(zero_point: Tensor, low: int, high: int) -> Tensor:
    """``zero_point`` as it is used and written out: whole and an integer of the range."""
    return torch.clamp(straight_through(zero_point), low, high)


@operator(f"{DOMAIN}.{FAKE_QUANTIZE}")
def fake_quantize(node: Node, x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
    """``x`` of any shape; ``scale`` and ``zero_point`` one, or one an index of the node's axis."""
    signed, narrow = bool(node["signed"]), bool(node["narrow"])
    low, high = code_range(node["bits"], signed=signed, narrow=narrow)
    # Samples that run together lie along the first axis: a layer has no more values for them.
    values = x.numel() // (scale.numel() if scale.ndim else max(len(x), 1) if x.ndim else 1)
    share = 1 / math.sqrt(max(values, 1) * high)
    step = _along(
        node, x, _scaled_gradient(stored_scale(scale, node["bits"], narrow=narrow), share)
    )
    zero = None
    if zero_point is not None:
        zero = _scaled_gradient(stored_zero_point(zero_point, low, high), share)
        zero = _along(node, x, zero)
    return cast("Tensor", _Rounded.apply(x, step, zero, low, high))


class _Rounded(torch.autograd.Function):  # type: ignore[misc]
    """The equation and its gradients: a fourth of the passes that autograd would make of it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, step: Tensor, zero: Tensor | None, low: int, high: int) -> Tensor:
        least, most = (low, high) if zero is None else (low - zero, high - zero)
        return torch.clamp(x / step, least, most).round_().mul_(step)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, step, zero, ctx.low, ctx.high = inputs
        ctx.save_for_backward(x, step, zero, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, step, zero, y = ctx.saved_tensors
        least, most = (ctx.low, ctx.high) if zero is None else (ctx.low - zero, ctx.high - zero)
        of_x = gradient * ((x >= least * step) & (x <= most * step))
        # Beyond the range x is not in it, so the product is 0 there.
        of_step = _sum_like(step, gradient, y) - _sum_like(step, of_x, x)
        of_zero = None
        if zero is not None:
            of_zero = step * ((of_x - gradient).sum_to_size(zero.shape))
        return of_x, of_step / step, of_zero, None, None


def _sum_like(like: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """The sum of the products over the axes that ``like`` is repeated along."""
    if like.numel() == 1:
        return torch.dot(left.reshape(-1), right.reshape(-1)).reshape(like.shape)
    return (left * right).sum_to_size(like.shape)


def _scaled_gradient(value: Tensor, share: float) -> Tensor:
    """``value``, to the last bit, with ``share`` of its gradient."""
    scaled = value * share
    return value.detach() + (scaled - scaled.detach())


def _along(node: Node, x: Tensor, value: Tensor) -> Tensor:
    if value.ndim == 0:
        return value
    axis = node["axis"] % x.ndim
    return value.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
