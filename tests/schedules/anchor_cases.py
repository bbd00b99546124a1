"""Anchors with an epilogue, drawn at random: as TE for the compiler, and in numpy as the reference.

All values are small integers, whatever the dtype: float32 sums of them are exact too, so every
comparison is for equality.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

from tvmcomp.schedules import Decide, analytic, apply_schedule
from tvmcomp.schedules.anchor import Anchor, Widths, Window
from tvmcomp.schedules.bfloat16 import BITS, import_functions
from tvmcomp.schedules.conv.depthwise_conv import (
    depthwise_conv,
    depthwise_lanes,
    depthwise_padding,
    pack_depthwise_weight,
)
from tvmcomp.schedules.conv.depthwise_dot import (
    depthwise_dot_conv,
    dot_lanes,
    pack_depthwise_dot_weight,
)
from tvmcomp.schedules.conv.direct_conv import conv_padding, direct_conv, pack_conv_weight
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

te = tvm.te

#: What follows an anchor: name -> (shape of the second operand or None, operation in TE, in numpy).
#: ``whole``: the anchor's shape; ``channel``: one value a channel; ``gate``: a channel and image.
EPILOGUES: dict[str, tuple[str | None, Callable[..., Any], Callable[..., Any]]] = {
    "bias": ("channel", lambda a, b: a + b, np.add),
    "relu": (None, lambda a: te.max(a, tvm.tirx.const(0, a.dtype)), lambda a: np.maximum(a, 0)),
    "residual": ("whole", lambda a, b: a + b, np.add),
    "scale": ("channel", lambda a, b: a * b, np.multiply),
    "gate": ("gate", lambda a, b: a * b, np.multiply),
}


@dataclass(frozen=True)
class Case:
    """An anchor's geometry, and the names in :data:`EPILOGUES` of what follows it."""

    lead: tuple[int, ...]
    spatial: tuple[int, ...]
    channels: int
    out_channels: int
    window: Window
    epilogue: tuple[str, ...] = ()
    depthwise: bool = False

    @property
    def input(self) -> tuple[int, ...]:
        """The shape of the data, without what is padded to it."""
        return (*self.lead, *self.spatial, self.channels)

    @property
    def anchor(self) -> Anchor:
        """What is computed."""
        return Anchor(self.input, self.window, self.out_channels)

    @property
    def output(self) -> tuple[int, ...]:
        """The shape of the result."""
        return (*self.lead, *self.window.output(self.spatial), self.out_channels)

    def operand_shape(self, kind: str) -> tuple[int, ...]:
        """The shape of an epilogue's second operand."""
        ones = (1,) * len(self.spatial)
        return {
            "whole": self.output,
            "channel": (self.out_channels,),
            "gate": (*self.lead, *ones, self.out_channels),
        }[kind]


@st.composite
def windows(draw: st.DrawFn, rank: int, groups: int, pad_values: st.SearchStrategy[int]) -> Window:
    """A window of any size, stride, dilation, and a padding that differs before and after."""

    def each(strategy: st.SearchStrategy[Any]) -> tuple[Any, ...]:
        return tuple(draw(strategy) for _ in range(rank))

    return Window(
        kernel=each(st.integers(1, 3)),
        strides=each(st.integers(1, 2)),
        dilation=each(st.integers(1, 2)),
        padding=each(st.tuples(st.integers(0, 2), st.integers(0, 2))),
        groups=groups,
        pad_value=draw(pad_values),
    )


@st.composite
def convolutions(draw: st.DrawFn, unsigned: bool, depthwise: bool = False) -> Case:
    """A convolution over 1 to 3 dimensions; ``unsigned`` data may be padded with a zero point."""
    rank = draw(st.integers(1, 3))
    if depthwise:
        groups = channels = out_channels = draw(st.integers(2, 40))
    else:
        groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
        channels = groups * draw(st.integers(1, 9))
        out_channels = groups * draw(st.integers(1, 36))
    window = draw(windows(rank, groups, st.integers(0, 9) if unsigned else st.just(0)))
    smallest = [
        max(1, dil * (k - 1) + 1 - before - after)
        for k, dil, (before, after) in zip(
            window.kernel, window.dilation, window.padding, strict=True
        )
    ]
    spatial = tuple(draw(st.integers(low, low + (11 if rank < 3 else 3))) for low in smallest)
    lead = (draw(st.integers(1, 2)),)
    return Case(lead, spatial, channels, out_channels, window, draw(epilogues()), depthwise)


def depthwise(channels: int, kernel: int, width: int = 9, **changes: Any) -> Case:
    """A depthwise convolution of one image, six rows high; ``changes`` are the window's."""
    half = kernel // 2
    geometry = {"strides": (1, 1), "dilation": (1, 1), "padding": ((half, half), (half, half))}
    window = Window((kernel, kernel), groups=channels, **{**geometry, **changes})
    return Case((1,), (6, width), channels, channels, window, ("bias", "relu"), depthwise=True)


#: Windows of up to seven rows, which dot products take up to four at a time.
DEPTHWISE = (
    depthwise(16, 3),
    depthwise(24, 3, 14, strides=(2, 2)),
    depthwise(36, 3, 7, dilation=(2, 1)),
    depthwise(48, 5, 11),
    depthwise(4, 6, 8),
    depthwise(40, 7, 13, strides=(1, 2)),
    depthwise(13, 3),
)


@st.composite
def matmuls(draw: st.DrawFn) -> Case:
    """A matrix product ``[*lead, M, K] x [K, N]``."""
    lead = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    window = Window((1,), (1,), (1,), ((0, 0),))
    channels, out_channels = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    rows = draw(st.integers(1, 17))
    return Case(lead, (rows,), channels, out_channels, window, draw(epilogues()))


def epilogues() -> st.SearchStrategy[tuple[str, ...]]:
    """Some of :data:`EPILOGUES`, in any order."""
    return st.lists(st.sampled_from(sorted(EPILOGUES)), max_size=3, unique=True).map(tuple)


def anchor_function(case: Case, kernel: DotKernel, target: TargetDescription) -> Any:
    """The PrimFunc of ``case``: it takes data, packed weight, the epilogue's operands, output."""
    inputs, value = anchor_tensors(case, kernel, target)
    func = te.create_prim_func([*inputs, value])
    return import_functions(func, target) if kernel.data == BITS else func


def anchor_tensors(
    case: Case, kernel: DotKernel, target: TargetDescription
) -> tuple[list[Any], Any]:
    """The inputs of ``case`` and its result, as TE tensors."""
    widths = data_padding(case, kernel, target)
    padded = [size + sum(pair) for size, pair in zip(case.input, widths, strict=True)]
    data = te.placeholder(padded, kernel.data, "data")
    packed = _pack(case, np.zeros(_weight_shape(case), _weight_dtype(kernel)), kernel, target)
    weight = te.placeholder(packed.shape, kernel.weight, "weight")
    lanes = _dot_lanes(case, kernel, target)
    if lanes is not None:
        value = depthwise_dot_conv(data, weight, case.anchor, lanes)
    elif case.depthwise:
        value = depthwise_conv(data, weight, case.anchor, kernel)
    else:
        value = direct_conv(data, weight, case.anchor, kernel, target)
    arguments = [data, weight]
    for name in case.epilogue:
        kind, operation, _ = EPILOGUES[name]
        operand = None
        if kind is not None:
            operand = te.placeholder(case.operand_shape(kind), kernel.acc, f"{name}_operand")
            arguments.append(operand)
        value = _followed_by(value, operation, operand, name)
    return arguments, value


def _followed_by(value: Any, operation: Callable[..., Any], operand: Any | None, name: str) -> Any:
    if operand is None:
        return te.compute(value.shape, lambda *i: operation(value[i]), name=name)
    return te.compute(
        value.shape,
        lambda *i: operation(value[i], operand[_broadcast(i, operand.shape)]),
        name=name,
    )


def data_padding(case: Case, kernel: DotKernel, target: TargetDescription) -> Widths:
    """What the anchor of ``case`` needs around its data."""
    if case.depthwise:
        lanes = _dot_lanes(case, kernel, target) or depthwise_lanes(case.channels, target)
        return depthwise_padding(case.anchor, lanes)
    return conv_padding(case.anchor, kernel, target)


def random_arguments(
    case: Case, kernel: DotKernel, target: TargetDescription, rng: np.random.Generator
) -> tuple[list[np.ndarray], np.ndarray]:
    """Arguments for :func:`anchor_function` without the output, and what the output must be."""
    low = 0 if kernel.data == "uint8" else -9
    data = rng.integers(low, 10, case.input)
    weight = rng.integers(-9, 10, _weight_shape(case))
    if kernel.data == "uint8":  # The largest products: what a saturating instruction gets wrong.
        data[..., 0], weight[0] = 255, 127
    expected = convolve(data, weight, case.window)
    padding = data_padding(case, kernel, target)
    padded = np.pad(data, padding, constant_values=case.window.pad_value)
    packed = _pack(case, _as(weight, kernel.weight), kernel, target)
    arguments = [_as(padded, kernel.data), packed]
    for name in case.epilogue:
        kind, _, operation = EPILOGUES[name]
        if kind is None:
            expected = operation(expected)
            continue
        operand = rng.integers(-3, 4, case.operand_shape(kind))
        arguments.append(operand.astype(kernel.acc))
        expected = operation(expected, operand)
    return arguments, expected


def convolve(data: np.ndarray, weight: np.ndarray, window: Window) -> np.ndarray:
    """Convolution in int64: ``data [*lead, *S, C]``, ``weight [O, *K, I / groups]``."""
    rank, groups = len(window.kernel), window.groups
    lead = data.ndim - rank - 1
    out = window.output(data.shape[lead:-1])
    padding = [(0, 0)] * lead + list(window.padding) + [(0, 0)]
    padded = np.pad(data, padding, constant_values=window.pad_value)
    per_group = weight.reshape(groups, -1, *weight.shape[1:])
    total = np.zeros((*data.shape[:lead], *out, groups, per_group.shape[1]), np.int64)
    for tap in np.ndindex(*window.kernel):
        at = [
            slice(t * dil, t * dil + stride * size, stride)
            for t, dil, stride, size in zip(tap, window.dilation, window.strides, out, strict=True)
        ]
        taken = padded[(*[slice(None)] * lead, *at)]
        taken = taken.reshape(*taken.shape[:-1], groups, -1)
        total += np.einsum("...gi,goi->...go", taken, per_group[(slice(None), slice(None), *tap)])
    return total.reshape(*data.shape[:lead], *out, -1)


def scheduled(func: Any, target: TargetDescription, decide: Decide = analytic) -> Any:
    """``func`` under our schedule, as a ``tvm.s_tir.Schedule``."""
    schedule = tvm.s_tir.Schedule(func)
    apply_schedule(schedule, target, decide)
    return schedule


def compiled(mod: Any, target: TargetDescription) -> Any:
    """Machine code of the PrimFuncs of ``mod``."""
    return tvm.compile(mod, tvm.target.Target(target.tvm_target_dict()))


def call(executable: Any, arguments: list[np.ndarray], shape: tuple[int, ...], dtype: str) -> Any:
    """Run ``main`` of ``executable``: its output."""
    out = tvm.runtime.tensor(np.full(shape, 77, dtype))
    executable["main"](*(tvm.runtime.tensor(np.ascontiguousarray(a)) for a in arguments), out)
    return out.numpy()


def _weight_shape(case: Case) -> tuple[int, ...]:
    inputs = 1 if case.depthwise else case.channels // case.window.groups
    return (case.out_channels, *case.window.kernel, inputs)


def _dot_lanes(case: Case, kernel: DotKernel, target: TargetDescription) -> int | None:
    """Channels that a depthwise convolution takes together, where it is by dot products."""
    if not case.depthwise:
        return None
    return dot_lanes(case.anchor, kernel.data, target)


def _pack(
    case: Case, weight: np.ndarray, kernel: DotKernel, target: TargetDescription
) -> np.ndarray:
    lanes = _dot_lanes(case, kernel, target)
    if lanes is not None:
        return pack_depthwise_dot_weight(weight, lanes, target)
    if case.depthwise:
        return pack_depthwise_weight(weight, depthwise_lanes(case.channels, target))
    return pack_conv_weight(weight, case.window.groups, kernel)


def _weight_dtype(kernel: DotKernel) -> Any:
    return np.dtype(kernel.weight)


def _as(values: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == BITS:
        return values.astype(ml_dtypes.bfloat16).view(np.uint16)
    return values.astype(dtype)


def _broadcast(index: tuple[Any, ...], shape: Any) -> tuple[Any, ...]:
    """``index`` into an operand of ``shape``, aligned at the end as numpy aligns it."""
    aligned = index[len(index) - len(shape) :]
    return tuple(0 if int(dim) == 1 else i for i, dim in zip(aligned, shape, strict=True))
