"""Equalization of a float network: the same results, channels of like ranges.

1. A tensor whose makers and readers all have weights of their own is scaled there, and nothing is
   computed that was not computed before (:mod:`tvmcomp.quantize.channel_links`).
2. Any other tensor that only anchors read in integers is multiplied for them, by a number a
   channel: one multiplication in registers of the kernel that makes it, where it is quantized
   anyway. So the few wide channels of a transformer, or of the data of a depthwise convolution, no
   longer take the steps of all others.

Of both only where the estimate of :mod:`tvmcomp.quantize.rounding.equalization` promises much, as
ranges that fit the samples closely may not fit what comes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tvmcomp.passes.operator_kinds import ANCHORS, AVERAGES, PASS_THROUGH
from tvmcomp.passes.rewriter import BindingRewriter, const, const_value, main_bindings, op_name
from tvmcomp.progress import Step
from tvmcomp.qparams import QParams
from tvmcomp.quantize.channel_links import Link, channel_links, tap_matrices
from tvmcomp.quantize.probe import Probe
from tvmcomp.quantize.rounding.equalization import Reader, equalizing_scales
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax = tvm.relax

#: Some tensor must be left with at most this share of its noise, by estimate: less is not worth
#: fitting a second network. Then all are scaled that come below the other shares: a multiplication
#: more must be worth its time.
_WORTH, _FREE, _MULTIPLIED = 0.2, 0.95, 0.35


@dataclass
class Scales:
    """What channels are divided by.

    Attributes:
        linked: groups of tensors, divided where they are made, and their scales, [C].
        multiplied: for anchors that read a tensor divided just for them, its scales, [C].
    """

    linked: list[tuple[Link, np.ndarray]] = field(default_factory=list)
    multiplied: dict[Var, np.ndarray] = field(default_factory=dict)


def find_scales(
    mod: Module,
    probe: Probe,
    qparams: Mapping[Var, QParams],
    samples: Sequence[list[np.ndarray]],
    step: Step = lambda: None,
) -> Scales | None:
    """How to scale channels where that promises less noise; None where nowhere much less.

    Args:
        mod: float Relax, channels last, that ``probe`` was made of.
        probe: the instrumented network.
        qparams: the parameters of what its anchors read.
        samples: its inputs, a sample at a time.
        step: called after each sample.
    """
    calls = {binding.var: binding.value for binding in main_bindings(mod) or []}
    anchors = {operator.var: operator for operator in probe.operators if operator.is_anchor}
    largest, squares = _channels(probe, samples, {calls[var].args[0] for var in anchors}, step)

    def estimate(readers: Sequence[Var]) -> tuple[np.ndarray, float]:
        ranges, found = [], []
        for var in readers:
            tensor = calls[var].args[0]
            limit = float(qparams[tensor].scale) * 255  # Beyond it nothing is held.
            ranges.append(np.minimum(largest[tensor], limit))
            weight = tap_matrices(calls[var], probe.weight(anchors[var]))
            found.append(Reader(weight, squares[tensor].reshape(len(weight), -1)))
        return equalizing_scales(np.max(ranges, axis=0), found)

    scales, least = Scales(), 1.0
    linked = set()
    for link in channel_links(mod):
        readers = [var for var in link.readers if var in anchors]
        linked.update(link.readers)
        if readers:
            found, noise = estimate(readers)
            least = min(least, noise)
            if noise < _FREE:
                scales.linked.append((link, found))
    shared = {t for op in probe.operators if not op.is_anchor for t in op.reads}
    apart: dict[Any, list[Any]] = {}
    for var in anchors:
        tensor = calls[var].args[0]
        moved = op_name(calls.get(tensor)) in PASS_THROUGH | AVERAGES  # in 8 bits as it is
        if var not in linked and tensor not in shared and not moved:
            apart.setdefault(tensor, []).append(var)
    for readers in apart.values():
        found, noise = estimate(readers)
        least = min(least, noise)
        if noise < _MULTIPLIED:
            scales.multiplied.update(dict.fromkeys(readers, found))
    return scales if least < _WORTH else None


def scale_channels(mod: Module, scales: Scales) -> Any:
    """``mod`` with channels divided by ``scales`` and the weights that read them multiplied: the
    same results, but for float32's rounding.
    """
    return _ScaleChannels(mod, scales).run()


def _channels(
    probe: Probe, samples: Sequence[list[np.ndarray]], tensors: set[Any], step: Step
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
        step()
    return largest, squares


class _ScaleChannels(BindingRewriter):
    def __init__(self, mod: Module, scales: Scales) -> None:
        super().__init__(mod)
        self.made = {var: s for link, s in scales.linked for var in link.makers}
        self.shifted = {var: s for link, s in scales.linked for var in link.shifts}
        self.read = {var: s for link, s in scales.linked for var in link.readers}
        self.read.update(scales.multiplied)
        self.multiplied = scales.multiplied
        #: What is read, divided for anchors.
        self.divided_for: dict[Any, Any] = {}

    def rewrite(self, var: Var, value: Expr) -> Any:
        call: Any = value
        if var in self.shifted:
            args = [self.divided(arg, self.shifted[var]) for arg in call.args]
        elif var in self.made and op_name(call) not in ANCHORS:  # a normalization
            given = [self.divided(arg, self.made[var]) for arg in call.args[1:]]
            args = [self.substitute(call.args[0]), *given]
        elif var in self.made or var in self.read:
            args = [self.data(var, call.args[0]), const(self.weight(var, call))]
        else:
            return super().rewrite(var, value)
        return self.emit(relax.Call(call.op, args, call.attrs, call.ty_args), var.name)

    def data(self, var: Var, tensor: Var) -> Any:
        """What an anchor reads."""
        if var not in self.multiplied:
            return self.substitute(tensor)
        if tensor not in self.divided_for:
            factors = const((1 / self.multiplied[var]).astype(np.float32))
            product = relax.op.multiply(self.substitute(tensor), factors)
            self.divided_for[tensor] = self.emit(product, f"{tensor.name}_equalized")
        return self.divided_for[tensor]

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
