"""Cross-layer equalization of a float network: the same results, channels of like ranges.

See :mod:`tvmcomp.quantize.rounding.equalization` for the scales and
:mod:`tvmcomp.quantize.channel_links` for where they may go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tvmcomp.passes.operator_kinds import ANCHORS
from tvmcomp.passes.rewriter import BindingRewriter, const, const_value, main_bindings, op_name
from tvmcomp.qparams import QParams
from tvmcomp.quantize.channel_links import Link, channel_links, tap_matrices
from tvmcomp.quantize.probe import Probe
from tvmcomp.quantize.rounding.equalization import Reader, equalizing_scales
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax = tvm.relax

#: Some group of tensors must be left with at most this share of its noise, by estimate: less is not
#: worth fitting a second network. Then all are scaled that come below the other share.
_WORTH, _GAINS = 0.2, 0.95


def equalized(
    mod: Module,
    probe: Probe,
    qparams: Mapping[Var, QParams],
    samples: Sequence[list[np.ndarray]],
) -> Any:
    """``mod`` with channels scaled where that promises less noise; None where nowhere much less.

    Args:
        mod: float Relax, channels last, that ``probe`` was made of.
        probe: the instrumented network.
        qparams: the parameters of what its anchors read.
        samples: its inputs, a sample at a time.
    """
    calls = {binding.var: binding.value for binding in main_bindings(mod) or []}
    anchors = {operator.var for operator in probe.operators if operator.is_anchor}
    links = [link for link in channel_links(mod) if any(var in anchors for var in link.readers)]
    if not links:
        return None
    read = {calls[var].args[0] for link in links for var in link.readers if var in anchors}
    largest, squares = _channels(probe, samples, read)
    scales: list[tuple[Link, np.ndarray]] = []
    least = 1.0
    for link in links:
        ranges, readers = [], []
        for var in link.readers:
            if var in anchors:
                tensor, weight = calls[var].args[0], const_value(calls[var].args[1])
                assert weight is not None
                limit = float(qparams[tensor].scale) * 255
                ranges.append(np.minimum(largest[tensor], limit))
                matrices = tap_matrices(calls[var], weight)
                readers.append(Reader(matrices, squares[tensor].reshape(len(matrices), -1)))
        found, noise = equalizing_scales(np.max(ranges, axis=0), readers)
        least = min(least, noise)
        if noise < _GAINS:
            scales.append((link, found))
    return scale_channels(mod, scales) if least < _WORTH else None


def scale_channels(mod: Module, scales: Sequence[tuple[Link, np.ndarray]]) -> Any:
    """``mod`` with the channels of each link divided by its scales, [C], where they are made, and
    multiplied by them where they are read: the same results, but for float32's rounding.
    """
    return _ScaleChannels(mod, scales).run()


def _channels(
    probe: Probe, samples: Sequence[list[np.ndarray]], tensors: set[Any]
) -> tuple[dict[Any, np.ndarray], dict[Any, np.ndarray]]:
    """The largest size and the mean square of each channel of ``tensors``, [C]."""
    largest: dict[Any, np.ndarray] = {}
    squares: dict[Any, Any] = {}
    for inputs in samples:
        _, observed = probe.run(inputs)
        for tensor in tensors:
            data = np.asarray(observed[tensor]).reshape(-1, observed[tensor].shape[-1])
            top = np.abs(data).max(axis=0)
            largest[tensor] = np.maximum(largest.get(tensor, top), top)
            mean = np.square(data).mean(axis=0, dtype=np.float64)
            squares[tensor] = squares.get(tensor, 0.0) + mean / len(samples)
    return largest, squares


class _ScaleChannels(BindingRewriter):
    def __init__(self, mod: Module, scales: Sequence[tuple[Link, np.ndarray]]) -> None:
        super().__init__(mod)
        self.made = {var: s for link, s in scales for var in link.makers}
        self.shifted = {var: s for link, s in scales for var in link.shifts}
        self.read = {var: s for link, s in scales for var in link.readers}

    def rewrite(self, var: Var, value: Expr) -> Any:
        call: Any = value
        if var in self.shifted:
            args = [self.divided(arg, self.shifted[var]) for arg in call.args]
        elif var in self.made and op_name(call) not in ANCHORS:  # a normalization
            given = [self.divided(arg, self.made[var]) for arg in call.args[1:]]
            args = [self.substitute(call.args[0]), *given]
        elif var in self.made or var in self.read:
            args = [self.substitute(call.args[0]), const(self.weight(var, call))]
        else:
            return super().rewrite(var, value)
        return self.emit(relax.Call(call.op, args, call.attrs, call.ty_args), var.name)

    def divided(self, arg: Expr, scales: np.ndarray) -> Any:
        value = const_value(arg)
        return self.substitute(arg) if value is None else const((value / scales).astype("float32"))

    def weight(self, var: Var, call: Call) -> np.ndarray:
        weight = const_value(call.args[1])
        assert weight is not None
        matmul = op_name(call) == "matmul"
        if var in self.read:
            scales = self.read[var]
            if matmul:
                weight = weight * scales[:, None]
            else:  # [O, *kernel, I]; each group of outputs reads its own channels
                matrices = tap_matrices(call, weight)
                own = scales.reshape(len(matrices), 1, 1, -1)
                weight = (matrices * own).reshape(weight.shape)
        if var in self.made:
            scales = self.made[var]
            axes = (1,) * (weight.ndim - 1)
            weight = weight / (scales if matmul else scales.reshape(-1, *axes))
        return weight.astype(np.float32)
