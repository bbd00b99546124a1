"""How an operator is written as smaller ones of lower rank.

    narrow    product, layer's input,   first to r channels as the operator itself does it,
              convolution               then 1x1 to all of them
    tucker    convolution               1x1 to r1 channels, the kernel to r2, 1x1 to all
    spatial   convolution of a plane    h x 1 to r channels, then 1 x w to all

Biases, and what a convolution's 1x1 leaves of strides and paddings, stay where zeros around the
image are still zeros: the first operators have no bias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import numpy as np
import onnx
from onnx import helper

from tvmcomp.compress.fake_quantize import weights as roles
from tvmcomp.compress.fake_quantize.graph import Graph, attribute, kind_of
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.compress.low_rank import factors
from tvmcomp.compress.moments import Moments

FormName: TypeAlias = Literal["narrow", "tucker", "spatial"]


@dataclass(frozen=True)
class Form:
    """A way to write one operator, with its ranks.

    Attributes:
        name: which.
        ranks: channels in between: one, or those of Tucker's inputs and outputs.
    """

    name: FormName
    ranks: tuple[int, ...]

    def __str__(self) -> str:
        ranks = " and ".join(map(str, self.ranks))
        return f"rank {ranks}" if self.name == "narrow" else f"{self.name}, rank {ranks}"


@dataclass(frozen=True)
class Factored:
    """An operator's weight in factors.

    Attributes:
        weight: what is factored.
        form: how it is written.
        matrices: float32 [outputs, inputs * own taps], the first first.
        lost: share of the energy of its results on the samples.
        shift: what the results lack in the mean, float64 [O].
    """

    weight: Weight
    form: Form
    matrices: tuple[np.ndarray, ...]
    lost: float
    shift: np.ndarray


def factored(weight: Weight, matrix: np.ndarray, moments: Moments, form: Form) -> Factored:
    """The factors of ``matrix`` [O, K] in ``form`` that lose least on ``moments``."""
    taps = math.prod(weight.shape[2:]) if weight.role == roles.CONVOLUTION else 1
    matrix = matrix.astype(np.float64)
    (mean,), (square,) = moments.mean, moments.square
    if form.name == "narrow":
        made: tuple[np.ndarray, ...] = factors.narrow(matrix, square, form.ranks[0])
        own = [1, 1]
    elif form.name == "tucker":
        made = factors.tucker(matrix, square, taps, (form.ranks[0], form.ranks[1]))
        own = [taps, 1, 1]
    else:
        high, wide = weight.shape[2:]
        made = factors.spatial(matrix, square, (high, wide), form.ranks[0])
        own = [wide, 1]
    whole = factors.composed(made, own)
    return Factored(
        weight,
        form,
        tuple(map(_f32, made)),
        factors.lost(matrix, whole, square),
        (matrix - whole) @ mean,
    )


def factor_sizes(weight: Weight, form: Form) -> tuple[tuple[int, int], ...]:
    """The shapes of the matrices of :func:`factored`."""
    outputs, columns = weight.scales, math.prod(weight.shape) // weight.scales
    first, *rest = form.ranks
    if form.name == "narrow":
        return ((first, columns), (outputs, first))
    taps = math.prod(weight.shape[2:])
    if form.name == "tucker":
        return ((first, columns // taps), (rest[0], first * taps), (outputs, rest[0]))
    wide = weight.shape[3]
    return ((first, columns // wide), (outputs, first * wide))


def write(
    graph: Graph,
    node: onnx.NodeProto,
    weight: Weight,
    form: Form,
    matrices: Sequence[np.ndarray],
) -> list[onnx.NodeProto]:
    """The operators that take the place of ``node``: :func:`part_names` says their names.

    Args:
        graph: gets the new constants.
        node: an operator with ``weight``.
        weight: what is factored.
        form: how.
        matrices: the factors.
    """
    if weight.role == roles.CONVOLUTION:
        return _convolutions(graph, node, form, matrices)
    first, final = stored(matrices, node, weight)
    low = graph.free_name(f"{node.output[0] or node.name}_low_rank")
    # A layer's input is [steps, batch, I], so that it is multiplied by [I, r] as a product's is.
    down, up = (
        graph.add_constant(f"{node.name}.factor_{index}", value)
        for index, value in enumerate((first, final))
    )
    name, _ = part_names(node.name, 2)
    first_node = helper.make_node("MatMul", [node.input[0], down], [low], name)
    last_node = onnx.NodeProto()
    last_node.CopyFrom(node)
    last_node.input[0], last_node.input[1] = low, up
    return [first_node, last_node]


def part_names(name: str, count: int) -> list[str]:
    """The names of the operators that the one called ``name`` becomes; the last keeps it."""
    return [*(f"{name}.{index}" for index in range(count - 1)), name]


def stored(
    matrices: Sequence[np.ndarray], node: onnx.NodeProto, weight: Weight
) -> list[np.ndarray]:
    """The factors as constants of the operators, float32; ``node`` is the operator as it was."""
    if weight.role == roles.CONVOLUTION:
        return [_f32(matrix) for matrix in matrices]  # Their kernels give them more axes.
    first, last = matrices
    if weight.role == roles.RECURRENT:
        return [_f32(first.T), _f32(last.reshape(*weight.shape[:2], len(first)))]
    return [_f32(first.T), _f32(last if attribute(node, "transB", 0) else last.T)]


def _convolutions(
    graph: Graph, node: onnx.NodeProto, form: Form, matrices: Sequence[np.ndarray]
) -> list[onnx.NodeProto]:
    data, kernel = node.input[0], list((graph.shape(node.input[1]) or ())[2:])
    dims = len(kernel)
    one = [1] * dims
    if form.name == "narrow":
        kernels, holders = [kernel, one], [True, False]
    elif form.name == "tucker":
        kernels, holders = [one, kernel, one], [False, True, False]
    else:
        kernels, holders = [[kernel[0], 1], [1, kernel[1]]], [True, True]
    nodes = []
    names = part_names(node.name, len(matrices))
    for index, (matrix, own, holds) in enumerate(zip(matrices, kernels, holders, strict=True)):
        final = index == len(matrices) - 1
        value = _f32(matrix.reshape(len(matrix), -1, *own))
        constant = graph.add_constant(f"{node.name}.factor_{index}", value)
        result = node.output[0] if final else graph.free_name(f"{node.output[0]}_low_{index}")
        inputs = [data, constant, *(node.input[2:] if final else [])]
        made = helper.make_node("Conv", inputs, [result], names[index], kernel_shape=own)
        if holds:
            along = [k == o for k, o in zip(kernel, own, strict=True)]
            if form.name == "spatial":
                along = [index == 0, index == 1]
            for key, default, ends in (("strides", 1, 1), ("dilations", 1, 1), ("pads", 0, 2)):
                sizes = cast("list[int]", attribute(node, key, [default] * ends * dims))
                sizes = sizes if len(sizes) == dims or key == "pads" else [default] * dims
                wanted = along * (len(sizes) // dims)
                kept = [s if a else default for s, a in zip(sizes, wanted, strict=True)]
                made.attribute.append(helper.make_attribute(key, kept))
        nodes.append(made)
        data = result
    return nodes


def refusal(graph: Graph, node: onnx.NodeProto, weight: Weight) -> str | None:
    """Why an operator can't be written so; None where it can."""
    if weight.role == roles.TRANSPOSED:
        return "transposed convolutions are not factored"
    if weight.role == roles.CONVOLUTION:
        if weight.groups != 1:
            return "its groups are of low rank already"
        if attribute(node, "auto_pad", "NOTSET") not in ("", "NOTSET"):
            return "its padding is automatic"
    if len(graph.readers[weight.tensor]) > 1:
        return "several operators share its weight"
    if weight.role == roles.RECURRENT and attribute(node, "layout", 0):
        return "its layout has the batch in front"
    if kind_of(node) == "Gemm" and len(graph.shape(node.input[0]) or ()) != 2:
        return "its input is no matrix"
    return None


def _f32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)
