"""Weights anew for what reads fewer channels: by least squares, one layer after the other.

The smaller network and the whole one run side by side over samples. At each weight the smaller
one's inputs ``x`` are what is left, drifted by all that was changed before; the weights become
those that give, of these, what the whole network gives of its own (He et al., "Channel pruning for
accelerating very deep neural networks", arXiv:1707.06168), and the bias takes up the means:

    min |W x + b - (W' x' + b')|^2 + ridge |W - W_cut|^2

How far to trust the samples, which is the ridge, is decided at each weight on half of the rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from tvmcomp.compress.channels.cut import cut
from tvmcomp.compress.channels.groups import Groups
from tvmcomp.compress.fake_quantize import weights as roles
from tvmcomp.compress.fake_quantize.graph import Graph, copied, set_nodes
from tvmcomp.compress.fake_quantize.lockstep import samples_that_fit
from tvmcomp.compress.fake_quantize.pair import Pair
from tvmcomp.compress.fake_quantize.plan import plan_model
from tvmcomp.compress.fake_quantize.rows import rows_of, rows_wanted
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.compress.operators.table import Node, Tensor
from tvmcomp.compress.samples import Sample

Matrix = NDArray[np.float64]

#: Shares of the inputs' mean square that the ridge may be.
_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_ROLES = frozenset([roles.CONVOLUTION, roles.TRANSPOSED, roles.PRODUCT, roles.RECURRENT])


def repaired(
    groups: Groups,
    removed: Collection[int],
    samples: Sequence[Sample],
    step: Callable[[], None] = lambda: None,
) -> onnx.ModelProto:
    """The network without the classes ``removed``, its weights fitted to what they now read.

    Args:
        groups: of the whole network.
        removed: classes.
        samples: to fit by; of very large tensors not all are used.
        step: is called after each weight.

    Raises:
        ModelError: torch can't compute a node.
    """
    smaller = with_biases(cut(groups, removed))
    repair = _Repair(groups, removed, smaller, samples[: samples_that_fit(groups.model, 2)])
    network = repair.pair.changed.network
    for index, node in enumerate(network.nodes):
        if node.name in repair.weights:
            repair.fit(repair.weights[node.name], node)
            step()
        repair.pair.run(index)
    return network.to_onnx()


def with_biases(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every convolution has a bias, if only zeros."""
    model = copied(model)
    graph = Graph(model)
    shared: set[str] = set()
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose") or not graph.is_constant(node.input[1]):
            continue
        if len(node.input) == 2:
            node.input.append("")
        if not node.input[2]:
            shape = graph.shape(node.output[0])
            assert shape is not None
            zeros = np.zeros(shape[1], np.float32)
            node.input[2] = graph.add_constant(f"{node.name}.bias", zeros)
        elif node.input[2] in shared or len(graph.readers[node.input[2]]) > 1:
            value = graph.constant(node.input[2])
            if value is not None:
                node.input[2] = graph.add_constant(f"{node.name}.bias", value.copy())
        shared.add(node.input[2])
    set_nodes(model, list(model.graph.node))  # without the biases that nobody reads any more
    return model


@dataclass(frozen=True)
class RowMoments:
    """Of rows that both networks read, ``x`` by the smaller one and ``y`` by the whole one:
    ``[G, …]``.

    Attributes:
        square: the mean of ``x x^T``.
        cross: of ``y x^T``.
        mean, whole_mean: of ``x`` and of ``y``.
        rows: how many.
    """

    square: Matrix
    cross: Matrix
    mean: Matrix
    whole_mean: Matrix
    rows: int

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> RowMoments:
        """Of rows ``[G, rows, K]``."""
        rows = x.shape[1]
        square, cross, mean, whole_mean = (
            (each / max(rows, 1)).numpy() for each in (x.mT @ x, y.mT @ x, x.sum(1), y.sum(1))
        )
        return cls(square, cross, mean, whole_mean, rows)

    def with_(self, other: RowMoments) -> RowMoments:
        """Of both."""
        share = self.rows / max(self.rows + other.rows, 1)

        def mean(mine: Matrix, theirs: Matrix) -> Matrix:
            return share * mine + (1 - share) * theirs

        return RowMoments(
            square=mean(self.square, other.square),
            cross=mean(self.cross, other.cross),
            mean=mean(self.mean, other.mean),
            whole_mean=mean(self.whole_mean, other.whole_mean),
            rows=self.rows + other.rows,
        )

    def centred(self) -> RowMoments:
        """About the means."""
        return replace(
            self,
            square=self.square - self.mean[:, :, None] * self.mean[:, None, :],
            cross=self.cross - self.whole_mean[:, :, None] * self.mean[:, None, :],
        )

    def solve(self, start: Matrix, whole: Matrix, ridge: float) -> Matrix:
        """Weights ``[G, O, K]`` near ``start`` that give of ``x`` what ``whole`` gives of ``y``."""
        size = self.square.shape[-1]
        scale = np.trace(self.square, axis1=1, axis2=2)[:, None, None] / size
        tiny = np.finfo(np.float64).tiny
        regular = self.square + (ridge * scale + tiny) * np.eye(size)
        missing = whole @ self.cross - start @ self.square
        change: Matrix = np.linalg.solve(regular, missing.swapaxes(1, 2)).swapaxes(1, 2)
        return start + change

    def error(self, weight: Matrix, whole: Matrix) -> float:
        """The mean square of what is missing, but for what no ``weight`` changes."""
        return float(
            np.sum((weight @ self.square) * weight) - 2 * np.sum((whole @ self.cross) * weight)
        )


class _Repair:
    def __init__(
        self,
        groups: Groups,
        removed: Collection[int],
        smaller: onnx.ModelProto,
        samples: Sequence[Sample],
    ) -> None:
        self.groups, self.removed = groups, removed
        self.pair = Pair(smaller, groups.model, samples)
        self.whole_nodes = {node.name: node for node in self.pair.real.network.nodes}
        plan = plan_model(smaller)
        self.weights = {
            weight.node: weight
            for weight in plan.weights
            if weight.role in _ROLES and len(plan.multiplied[weight.tensor]) == 1
        }
        uncut = plan_model(groups.model).weights
        self.uncut = {weight.node: weight for weight in uncut if weight.role in _ROLES}

    def fit(self, weight: Weight, node: Node) -> None:
        """Fit the weight of ``node``, which runs next, and its bias."""
        if node.inputs[0] not in self.pair.changed.portions[0] or weight.node not in self.uncut:
            return  # computed of constants
        value = self.pair.parameters[weight.tensor]
        start = weight.matrices(value.detach().double().numpy().reshape(weight.shape))
        whole = self.wanted(weight)
        fitted, held = self.moments(weight, node)
        both = fitted.with_(held)
        bias = self.pair.bias(weight, node)
        if bias is not None:
            fitted, held = fitted.centred(), held.centred()
        tried = [(held.error(start, whole), 0, start)]
        for number, ridge in enumerate(_RIDGES, 1):
            found = fitted.solve(start, whole, ridge)
            tried.append((held.error(found, whole), number, found))
        best = min(tried, key=lambda each: each[:2])[1]
        used = both if bias is None else both.centred()
        chosen = used.solve(start, whole, _RIDGES[best - 1]) if best else start
        array = weight.from_matrices(chosen).reshape(value.shape)
        with torch.no_grad():
            value.copy_(torch.from_numpy(np.ascontiguousarray(array, np.float32)))
            if bias is not None:
                shift = _results(whole, both.whole_mean) - _results(chosen, both.mean)
                bias += torch.from_numpy(shift.reshape(bias.shape)).float()

    def wanted(self, weight: Weight) -> Matrix:
        """The whole network's weights of those outputs that are left: ``[G, O, K']``."""
        before = self.uncut[weight.node]
        array = self.groups.flow.graph.constant(before.tensor)
        assert array is not None
        axes = self.groups.flow.axes_of(before.tensor)
        outputs = [before.axis if weight.role != roles.RECURRENT else 1]
        if before.groups != weight.groups:
            outputs.append(0)
        for axis in dict.fromkeys(outputs):
            kept = self.groups.kept(axes[axis], self.removed)
            if kept is not None:
                array = np.compress(kept, array, axis)
        shaped = replace(before, shape=array.shape, groups=weight.groups)
        return shaped.matrices(array).astype(np.float64)

    def moments(self, weight: Weight, node: Node) -> tuple[RowMoments, RowMoments]:
        """Of the rows that ``node`` is about to multiply, in two halves, of other samples each."""
        count = max(2, rows_wanted(weight) // len(self.pair.changed.portions))
        halves: tuple[list[RowMoments], list[RowMoments]] = ([], [])
        for x, y in self.rows(weight, node, count):
            middle = (x.shape[1] + 1) // 2
            for half, part in zip(halves, (slice(middle), slice(middle, None)), strict=True):
                half.append(RowMoments.of(x[:, part].double(), y[:, part].double()))
        first, second = (functools.reduce(RowMoments.with_, half) for half in halves)
        return first, second

    def rows(self, weight: Weight, node: Node, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The same rows of what the smaller and the whole network read: ``[G, rows, K]``."""
        before = self.uncut[weight.node]
        whole_node = self.whole_nodes[node.name]
        name = whole_node.inputs[0]
        kept = self.groups.kept(self.groups.flow.axes_of(name)[1], self.removed)
        for seed, (small, whole) in enumerate(
            zip(self.pair.changed.tensor(node.inputs[0]), self.pair.real.tensor(name), strict=True)
        ):
            x = rows_of(weight, node, small, count, seed)
            y = rows_of(before, whole_node, whole, count, seed)
            if before.groups != weight.groups and kept is not None:  # a channel a group
                y = y[torch.from_numpy(kept)]
            yield x, y


def _results(weight: Matrix, mean: Matrix) -> Matrix:
    """What weights ``[G, O, K]`` give of rows ``[G, K]``."""
    return np.einsum("gok,gk->go", weight, mean)
