"""What the inputs of ONNX operators must be, where onnx's shape inference does not say.

Its inference returns early where a value is not known to it, casts axes to 32 bits, and leaves to
the kernels what they read.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx

from tvmcomp.frontend.onnx.image_rules import check_affine_grid, check_padded, check_region
from tvmcomp.frontend.onnx.node_facts import NodeFacts
from tvmcomp.frontend.onnx.recurrent_rules import check_recurrent
from tvmcomp.frontend.onnx.window_rules import (
    check_extents,
    check_groups,
    check_kernel,
    check_pads,
    check_unpooled,
)

Rule = Callable[[NodeFacts], None]


def check_shapes(node: NodeFacts) -> None:
    """Raise ValueError where the inputs of ``node`` are not what its operator takes."""
    _check_variadic(node)
    for rule in _RULES.get(node.node.op_type, ()):
        rule(node)


def _check_variadic(node: NodeFacts) -> None:
    """No input of a list of any length may be left out."""
    schema = onnx.defs.get_schema(node.node.op_type, node.opset)
    variadic = onnx.defs.OpSchema.FormalParameterOption.Variadic
    last = len(schema.inputs) - 1
    if last >= 0 and schema.inputs[last].option == variadic and None in node.inputs[last:]:
        raise ValueError(f"its input {last + node.inputs[last:].index(None)} is left out")


def _axis(position: int = 0, extra: int = 0) -> Rule:
    """The attribute ``axis`` is one of input ``position`` (of ``extra`` dimensions more)."""

    def check(node: NodeFacts) -> None:
        rank = node.rank(position)
        if rank is not None and "axis" in node.attributes:
            _in_range(node.attributes["axis"], rank + extra, "axis")

    return check


def _attribute_axes(node: NodeFacts) -> None:
    rank = node.rank(0)
    if node.attributes.get("axes") == []:
        raise ValueError("its axes are none")
    for axis in node.attributes.get("axes", ()):
        if rank is not None:
            _in_range(axis, rank, "axes")


def _constant_axes(position: int, name: str) -> Rule:
    """The constant input ``position`` holds axes of input 0."""

    def check(node: NodeFacts) -> None:
        rank, value = node.rank(0), node.value(position)
        if rank is not None and value is not None:
            for axis in value.reshape(-1):
                _in_range(int(axis), rank, name)

    return check


def _in_range(axis: int, rank: int, name: str) -> None:
    if not -rank <= axis < rank:
        allowed = f"{-rank} to {rank - 1}" if rank else "nothing, as its input is a scalar"
        raise ValueError(f"its {name} is {axis}, and may be {allowed}")


def _vector(position: int, name: str) -> Rule:
    """Input ``position``, called ``name``, has one dimension."""

    def check(node: NodeFacts) -> None:
        rank = node.rank(position)
        if rank is not None and rank != 1:
            raise ValueError(f"its {name} must be a vector, and has {rank} dimensions")

    return check


def _at_most_vector(position: int, name: str) -> Rule:
    def check(node: NodeFacts) -> None:
        rank = node.rank(position)
        if rank is not None and rank > 1:
            raise ValueError(f"its {name} must be a vector, and has {rank} dimensions")

    return check


def _scalar(position: int, name: str) -> Rule:
    """Input ``position``, called ``name``, is a scalar or a vector of one element."""

    def check(node: NodeFacts) -> None:
        shape = node.shape(position)
        if shape is not None and shape not in ((), (1,)):
            raise ValueError(f"its {name} must be a scalar, and has the shape {list(shape)}")

    return check


def _least_rank(least: int) -> Rule:
    def check(node: NodeFacts) -> None:
        rank = node.rank(0)
        if rank is not None and rank < least:
            raise ValueError(f"its input has {rank} dimensions, and must have at least {least}")

    return check


def _normalized(node: NodeFacts) -> None:
    """Scale and bias of a LayerNormalization go with the normalized axes."""
    shape = node.shape(0)
    if shape is None:
        return
    axis = node.attributes.get("axis", -1)
    _in_range(axis, len(shape), "axis")
    for position, name in ((1, "scale"), (2, "bias")):
        given = node.shape(position)
        if given is not None:
            if len(given) > len(shape):
                raise ValueError(f"its {name} of shape {list(given)} has too many dimensions")
            _broadcast_into(given, shape, name)


def _broadcast_into(given: tuple[int, ...], shape: tuple[int, ...], name: str) -> None:
    for size, wanted in zip(reversed(given), reversed(shape), strict=False):
        if size not in (1, wanted):
            raise ValueError(
                f"its {name} of shape {list(given)} does not broadcast to {list(shape)}"
            )


def _addend(node: NodeFacts) -> None:
    """What a Gemm adds broadcasts to its product."""
    left, right, addend = node.shape(0), node.shape(1), node.shape(2)
    if left is None or right is None or addend is None or len(left) != 2 or len(right) != 2:
        return
    rows = left[1 if node.attributes.get("transA", 0) else 0]
    columns = right[0 if node.attributes.get("transB", 0) else 1]
    if len(addend) > 2:
        raise ValueError(f"its C of shape {list(addend)} has more than 2 dimensions")
    _broadcast_into(addend, (rows, columns), "C")


def _divisor(node: NodeFacts) -> None:
    scale = node.value(1)
    if scale is not None and np.any(scale.astype(float) == 0):
        raise ValueError("a scale of it is 0, and it divides by that")


def _ratio(node: NodeFacts) -> None:
    ratio = node.value(1)
    if ratio is not None and ratio.size and not 0 <= float(ratio.reshape(-1)[0]) < 1:
        raise ValueError(
            f"its ratio is {float(ratio.reshape(-1)[0])}, and must be from 0 to below 1"
        )


def _parts(node: NodeFacts) -> None:
    """Equal parts, the last one smaller, leave nothing below nothing for the last one."""
    shape, parts = node.shape(0), node.attributes.get("num_outputs")
    axis = node.attributes.get("axis", 0)
    if shape is None or not parts or not -len(shape) <= axis < len(shape):
        return
    if -(-shape[axis] // parts) * (parts - 1) > shape[axis]:
        raise ValueError(f"its axis of {shape[axis]} does not make {parts} parts")


def _mel(node: NodeFacts) -> None:
    """Numbers of bands and points, a rate and frequencies: none below 0, in order."""
    names = ("num_mel_bins", "dft_length", "sample_rate", "lower_edge_hertz", "upper_edge_hertz")
    for position, name in enumerate(names):
        value = node.value(position)
        if value is not None and (value.size != 1 or not value.item() >= (name == "sample_rate")):
            raise ValueError(f"its {name} is {value.tolist()}")


def _slope(node: NodeFacts) -> None:
    shape, slope = node.shape(0), node.shape(1)
    if shape is None or slope is None:
        return
    for left, right in zip(reversed(shape), reversed(slope), strict=False):
        if left != right and 1 not in (left, right):
            raise ValueError(f"its slope of shape {list(slope)} does not go with {list(shape)}")


def _channel_groups(node: NodeFacts) -> None:
    shape, groups = node.shape(0), node.attributes.get("num_groups", 1)
    if shape is not None and (len(shape) < 2 or groups < 1 or shape[1] % groups):
        raise ValueError(f"its input of shape {list(shape)} does not make {groups} groups")


def _channels(*positions: int) -> Rule:
    """The inputs at ``positions`` are a number for each channel of input 0."""

    def check(node: NodeFacts) -> None:
        shape = node.shape(0)
        if shape is None or node.attributes.get("spatial", 1) != 1:
            return
        channels = shape[1] if len(shape) > 1 else 1
        for position in positions:
            given = node.shape(position)
            if given is not None and given != (channels,):
                raise ValueError(
                    f"its input {position} has shape {list(given)}, and there are {channels} "
                    "channels"
                )

    return check


def _scales(position: int, least: float) -> Rule:
    """The constant input ``position`` holds finite factors above 0, of at least ``least``."""

    def check(node: NodeFacts) -> None:
        value = node.value(position)
        if value is None:
            return
        for scale in value.astype(float).reshape(-1):
            if not (math.isfinite(scale) and scale > 0 and scale >= least):
                allowed = f"at least {least}" if least else "above 0"
                raise ValueError(f"a scale of it is {scale}, and must be {allowed}")

    return check


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
_VECTORS = {
    "Reshape": ((1, "shape"),),
    "Slice": ((1, "starts"), (2, "ends"), (3, "axes"), (4, "steps")),
    "Tile": ((1, "repeats"),),
}

_RULES: dict[str, tuple[Rule, ...]] = {
    **{name: tuple(_vector(i, what) for i, what in given) for name, given in _VECTORS.items()},
    **{f"Reduce{name}": (_vector(1, "axes"), _constant_axes(1, "axes")) for name in _REDUCTIONS},
    **{
        name: (_axis(),)
        for name in ("ArgMax", "ArgMin", "Concat", "Gather", "GatherElements", "Hardmax",
                     "LogSoftmax", "ScatterElements", "Softmax", "TopK")
    },
    **{f"Global{name}Pool": (_least_rank(3),) for name in ("Average", "Lp", "Max")},
    **{
        name: (_least_rank(3), check_kernel, check_groups, check_extents)
        for name in ("Conv", "ConvInteger")
    },
    **{
        f"{name}Pool": (_least_rank(3), check_extents, check_pads)
        for name in ("Average", "Lp", "Max")
    },
    **dict.fromkeys(("GRU", "LSTM", "RNN"), (check_recurrent,)),
    "AffineGrid": (check_affine_grid,),
    "BatchNormalization": (_channels(1, 2, 3, 4),),
    "Clip": (_scalar(1, "min"), _scalar(2, "max")),
    "ConstantOfShape": (_least_rank(1),),
    "ConvTranspose": (_least_rank(3), check_kernel, check_groups),
    **{
        name: (_least_rank(1), _scalar(1, "axis"), _constant_axes(1, "axis"))
        for name in ("CumProd", "CumSum")
    },
    "Gemm": (_addend,),
    "Dropout": (_ratio,),
    "GroupNormalization": (_channel_groups, _channels(1, 2)),
    "InstanceNormalization": (_channels(1, 2),),
    "LayerNormalization": (_normalized,),
    "MaxUnpool": (check_unpooled,),
    "MeanVarianceNormalization": (_attribute_axes,),
    "MelWeightMatrix": (_mel,),
    "OneHot": (_axis(extra=1),),
    "PRelu": (_slope,),
    "Pad": (check_padded,),
    "QuantizeLinear": (_divisor,),
    "RMSNormalization": (_normalized,),
    "Range": (_scalar(0, "start"), _scalar(1, "limit"), _scalar(2, "delta")),
    "Resize": (_scales(2, 0), check_region),
    "Split": (_axis(), _parts),
    "Squeeze": (_at_most_vector(1, "axes"),),
    "Trilu": (_scalar(1, "k"),),
    "Unsqueeze": (_at_most_vector(1, "axes"),),
    "Upsample": (_scales(1, 1),),
}  # fmt: skip
