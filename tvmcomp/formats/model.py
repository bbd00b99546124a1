"""What a segment takes in each format on a target that is not at hand: a model of its core.

Cycles, of a vector operation each: the multiply-accumulates by the format's instruction, or by
Winograd's method in float32, the weights that don't stay in a core's cache, and the numbers that an
epilogue goes through. The share of the rates that kernels reach cancels out: only the ratio of the
formats counts. Where one instruction adds up four products or more it is the ratio of the
instructions, less what the rest of a loop takes; for what widens first it is that of our kernels'
loops: ``vpmaddwd`` measured in turns with ``vfmadd`` on a Zen 3, ``smlal`` by LLVM's model of the
Cortex-A72 (``python -m benchmarks.arm.static``).
"""

from __future__ import annotations

from collections.abc import Mapping

from tvmcomp.formats.choose import FormatCosts
from tvmcomp.formats.segments import Segments, numbers_of
from tvmcomp.passes.lowering.lower_anchors import as_anchor
from tvmcomp.passes.macs import macs
from tvmcomp.passes.operator_kinds import ANCHORS
from tvmcomp.passes.rewriter import const_value, main_bindings, op_name
from tvmcomp.schedules.conv.depthwise_dot import dot_lanes
from tvmcomp.schedules.conv.winograd import BYTES_PER_CYCLE, winograd_cycles, winograd_tile
from tvmcomp.schedules.dot import float_kernel
from tvmcomp.targets.description import DotProduct, TargetDescription
from tvmcomp.tvm_types import Call, Module

#: How many times as many multiply-accumulates a cycle as in float32, by the dot product.
_GAIN: Mapping[DotProduct, float] = {
    "amx_int8": 16.0,
    "avx512_vnni": 3.5,
    "avx_vnni": 3.5,
    "pmaddwd": 1.5,
    "i8mm": 7.0,
    "sdot": 3.5,
    "smlal": 0.9,
    "generic": 0.5,
}
#: The same of a depthwise convolution: with the instruction over its rows, and without.
_DEPTHWISE_GAIN, _WIDENED_GAIN = 1.5, 0.8
#: Cycles that a vector of numbers takes in an epilogue, and more to change its format.
_EPILOGUE, _CHANGE = 1.5, 4.0
#: A kernel's start, in cycles: a changed format is often a kernel more.
_KERNEL = 1000.0
#: Cycles a second.
_FREQUENCY = 3e9


def modelled_costs(
    mod: Module, segments: Segments, fixed: frozenset[int], target: TargetDescription
) -> FormatCosts:
    """Cycles of each segment in int8 and in float32; see :class:`FormatCosts`.

    Args:
        mod: the float network that ``segments`` are of.
        segments: its parts.
        fixed: those that are never in int8.
        target: the device.
    """
    place = segments.of_operator()
    asked = [0.0] * len(segments.operators)
    other = [0.0] * len(segments.operators)
    for binding in main_bindings(mod) or []:
        segment = place.get(str(binding.var.name))
        if segment is not None:
            around = _EPILOGUE * numbers_of(binding.var) / _lanes(target)
            in_int8, in_float32 = _products(binding.value, target)
            asked[segment] += in_int8 / target.cores + around
            other[segment] += in_float32 / target.cores + around
    borders = {pair: _change(size, target) for pair, size in segments.borders.items()}
    return FormatCosts(tuple(asked), tuple(other), borders, fixed)


def change_seconds(numbers: int, target: TargetDescription) -> float:
    """What it takes to change the format of so many numbers, about."""
    return _change(numbers, target) / _FREQUENCY


def _products(call: Call, target: TargetDescription) -> tuple[float, float]:
    """Cycles of one core that multiplying takes in int8, and in float32."""
    direct = macs(call) / (target.vector_bits // 32)
    weight = const_value(call.args[1]) if op_name(call) in ANCHORS else None
    gain = _GAIN.get(target.dot_product, 1.0)
    if weight is None or weight.ndim < 2:
        return direct / gain, direct
    anchor, weight = as_anchor(call, weight)
    if anchor.depthwise:
        by_rows = dot_lanes(anchor, target.activation_dtype, target) is not None
        return direct / (_DEPTHWISE_GAIN if by_rows else _WIDENED_GAIN), direct
    tile = winograd_tile(anchor, float_kernel(target), target)
    in_float32 = direct + _transfer(4 * weight.size, target)
    if tile is not None:
        in_float32 = winograd_cycles(tile, anchor, target)
    return direct / gain + _transfer(weight.size, target), in_float32


def _transfer(size: int, target: TargetDescription) -> float:
    """Cycles that weights of ``size`` bytes arrive in, where a core's cache does not keep them."""
    return size / BYTES_PER_CYCLE if size > target.l2_kib << 10 else 0.0


def _change(numbers: int, target: TargetDescription) -> float:
    return _KERNEL + _CHANGE * numbers / _lanes(target)


def _lanes(target: TargetDescription) -> int:
    """Numbers that all cores together have in a vector each."""
    return target.vector_bits // 32 * target.cores
