"""Tensors whose channels can be scaled together without changing what the network computes.

Where every maker of a tensor gives it by weights of its own (convolution, matrix product, the gain
and shift of a normalization), every reader takes it by weights (convolution, matrix product), and
what stands in between is positively homogeneous channel by channel (ReLU, maxima, averages, sums of
two such tensors), channel c may be divided by s[c] > 0 at the makers and multiplied again at the
readers. A residual stream is one such group of tensors. What clips at a number (ReLU6), mixes
channels, or is an input or output of the network, pins a group: it is left alone.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tvmcomp.passes.operator_kinds import ANCHORS
from tvmcomp.passes.rewriter import const_value, main_bindings, op_name, shape_of
from tvmcomp.quantize.anchor_data import groups_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Module, Var

relax = tvm.relax

#: ``f(x / s) = f(x) / s`` channel by channel, for s > 0.
_HOMOGENEOUS = frozenset(["nn.relu", "nn.leakyrelu", "abs", "negative"])
_POOLS = frozenset(
    ["nn.max_pool1d", "nn.max_pool2d", "nn.avg_pool1d", "nn.avg_pool2d", "image.resize2d",
     "nn.adaptive_avg_pool1d", "nn.adaptive_avg_pool2d", "nn.adaptive_max_pool2d"]
)  # fmt: skip
_REDUCTIONS = frozenset(["mean", "sum", "max", "min"])
_NORMALIZATIONS = frozenset(["nn.layer_norm", "nn.rms_norm"])


@dataclass
class Link:
    """Tensors that are scaled together.

    Attributes:
        tensors: the variables.
        makers: those of anchors and normalizations that give them.
        shifts: those of additions of a constant on the way.
        readers: those of anchors that read them.
    """

    tensors: list[Var] = field(default_factory=list)
    makers: list[Var] = field(default_factory=list)
    shifts: list[Var] = field(default_factory=list)
    readers: list[Var] = field(default_factory=list)


def channel_links(mod: Module) -> list[Link]:
    """The groups of ``mod`` (float, channels last) that may be scaled, in program order."""
    return _Links(mod).found()


class _Links:
    def __init__(self, mod: Module) -> None:
        self.parent: dict[Any, Any] = {}
        self.pinned: list[Any] = list(mod["main"].params)
        self.pinned += list(relax.analysis.free_vars(mod["main"].body.body))
        self.makers: list[Any] = []
        self.shifts: list[Any] = []
        #: (what is read, the anchor)
        self.readers: list[tuple[Any, Any]] = []
        self.order: list[Any] = []
        for binding in main_bindings(mod) or []:
            self.order.append(binding.var)
            if not self.visit(binding.var, binding.value):
                self.pinned += [binding.var, *relax.analysis.free_vars(binding.value)]

    def found(self) -> list[Link]:
        pinned = {self.root(var) for var in self.pinned}
        links: dict[Any, Link] = defaultdict(Link)
        for name, variables in {
            "tensors": self.order,
            "makers": self.makers,
            "shifts": self.shifts,
        }.items():
            for var in variables:
                getattr(links[self.root(var)], name).append(var)
        for data, anchor in self.readers:
            links[self.root(data)].readers.append(anchor)
        return [
            link
            for root, link in links.items()
            if root not in pinned and link.makers and link.readers
            and len({shape_of(var)[-1] for var in link.tensors}) == 1
        ]  # fmt: skip

    def root(self, var: Any) -> Any:
        while var in self.parent:
            var = self.parent[var]
        return var

    def join(self, *variables: Any) -> bool:
        first = self.root(variables[0])
        for var in variables[1:]:
            other = self.root(var)
            if not other.same_as(first):
                self.parent[other] = first
        return True

    def visit(self, var: Any, call: Any) -> bool:
        """Take note of one binding; False where it scales no channel."""
        name = op_name(call)
        if name is None or not isinstance(var.ty, relax.TensorType):
            return False
        if name in ANCHORS:
            return self.anchor(var, call)
        if name in _NORMALIZATIONS:
            return self.normalization(var, call)
        if name in ("add", "subtract", "multiply", "divide", "maximum", "minimum"):
            return self.two_operands(var, call, name)
        if name in _HOMOGENEOUS:
            return self.join(var, call.args[0])
        if name in _POOLS:
            return str(call.attrs.layout).endswith("C") and self.join(var, call.args[0])
        if name in _REDUCTIONS:
            rank = len(shape_of(call.args[0]))
            axes = [int(axis) % rank for axis in call.attrs.axis or range(rank)]
            return rank - 1 not in axes and self.join(var, call.args[0])
        if name == "reshape":
            same = shape_of(var)[-1:] == shape_of(call.args[0])[-1:]
            return same and self.join(var, call.args[0])
        if name == "permute_dims":
            last = len(shape_of(var)) - 1
            stays = call.attrs.axes is not None and int(call.attrs.axes[-1]) == last
            return stays and self.join(var, call.args[0])
        return False

    def anchor(self, var: Any, call: Call) -> bool:
        weight = const_value(call.args[1])
        if weight is None or weight.dtype != np.float32 or not isinstance(call.args[0], relax.Var):
            return False
        if op_name(call) == "matmul" and weight.ndim != 2:
            return False
        self.makers.append(var)
        self.readers.append((call.args[0], var))
        return True

    def normalization(self, var: Any, call: Call) -> bool:
        axes = [int(axis) for axis in call.attrs.axes]
        if axes not in ([-1], [len(shape_of(var)) - 1]):
            return False
        if any(const_value(arg) is None for arg in call.args[1:]):
            return False
        self.makers.append(var)
        self.pinned.append(call.args[0])
        return True

    def two_operands(self, var: Any, call: Call, name: str) -> bool:
        constants = [const_value(arg) for arg in call.args]
        tensors = [arg for arg in call.args if isinstance(arg, relax.Var)]
        if len(tensors) == 1 and sum(array is not None for array in constants) == 1:
            if shape_of(tensors[0]) != shape_of(var):
                return False
            if name in ("add", "subtract"):
                self.shifts.append(var)
                return self.join(var, tensors[0])
            if name in ("maximum", "minimum"):
                zero = all(array is None or not array.any() for array in constants)
                return zero and self.join(var, tensors[0])
            scales = name == "multiply" or constants[1] is not None
            return scales and self.join(var, tensors[0])
        if len(tensors) != 2 or any(shape_of(t)[-1:] != shape_of(var)[-1:] for t in tensors):
            return False
        if name in ("multiply", "divide"):
            whole, factor = tensors
            if shape_of(whole) != shape_of(var):
                if name == "divide":
                    return False
                whole, factor = factor, whole
            self.pinned.append(factor)
            return self.join(var, whole)
        return self.join(var, *tensors)


def tap_matrices(call: Call, weight: np.ndarray) -> np.ndarray:
    """An anchor's weight as [G, O, T, I]: groups, outputs, taps, input channels."""
    if op_name(call) == "matmul":
        return weight.T[None, :, None, :]
    groups = groups_of(call)
    return weight.reshape(groups, len(weight) // groups, -1, weight.shape[-1])
