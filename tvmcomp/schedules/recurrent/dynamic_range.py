"""The state in 8 bits that span its own range, which is found before each step.

    low, high = the least and the largest of 0 and all rows' units
    scale = (high - low) / 255                  1 where that is 0
    zero point = round(-low / scale)
    state_8 = clip(round(state / scale) + zero point, 0, 255)

That is ONNX's DynamicQuantizeLinear of the whole batch, as in ONNX Runtime's DynamicQuantizeLSTM.
Where the target multiplies signed numbers all of it is 128 less. Rounding is half to even.
"""

from __future__ import annotations

from typing import Any, Protocol

from tvmcomp.schedules.recurrent.integers import ZERO_POINTS
from tvmcomp.schedules.recurrent.layer import Layer
from tvmcomp.schedules.rows.loop_nest import SERIAL, index, loop, sequence, vector, vectors
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx

#: A float32 below 2^22 plus this has the nearest integer in its low bits.
_MAGIC, _MAGIC_BITS = 1.5 * 2**23, 0x4B400000
_LAST = 255


class States(Protocol):
    """What is known of a direction: its arrays by name, and how long the sequences are."""

    layer: Layer
    arrays: dict[str, Any]

    def length(self, row: PrimExpr) -> Any:
        """Steps of the sequence in ``row``; None where that is all."""
        ...


def range_arrays(batch: int, lanes: int, dtype: str) -> dict[str, Any]:
    """What holds the range of a step: ``low`` and ``high`` of each lane, the scale for each row as
    ``range``, ``zero_point``."""
    shapes = {"low": (lanes, dtype), "high": (lanes, dtype), "range": (batch, dtype)}
    shapes["zero_point"] = (1, "int32")
    return {
        name: tirx.decl_buffer([index(size)], kind, name) for name, (size, kind) in shapes.items()
    }


def round_in_range(states: States, step: PrimExpr) -> Any:
    """Find the range of the state before ``step`` and round the state to it."""
    return sequence([_find_range(states, step), *_find_scale(states), _round(states, step)])


def _find_range(states: States, step: PrimExpr) -> Any:
    layer, state = states.layer, states.arrays["state"]
    now = tirx.floormod(step, index(2))
    limits = (("low", tirx.min), ("high", tirx.max))
    whole, rest = divmod(layer.units, layer.lanes)

    def widen(row: PrimExpr, first: Any, is_full: bool) -> Any:
        length = states.length(row)

        def vector_of(name: str, extreme: Any) -> Any:
            limit = states.arrays[name]

            def lane(at: PrimExpr) -> Any:
                value = tirx.BufferLoad(state, [now, row, first + at])
                if length is not None:  # what is left of an ended sequence counts for nothing
                    value = tirx.Select(step <= length, value, layer.zero)
                if not is_full:
                    value = tirx.Select(first + at < index(layer.units), value, layer.zero)
                return tirx.BufferStore(limit, extreme(tirx.BufferLoad(limit, [at]), value), [at])

            return vector(layer.lanes, lane)

        return sequence([vector_of(*limit) for limit in limits])

    def row(at: PrimExpr) -> Any:
        done = []
        if whole:
            done.append(loop(whole, lambda b: widen(at, b * layer.lanes, True), SERIAL, "block"))
        if rest:
            done.append(widen(at, index(whole * layer.lanes), False))
        return sequence(done)

    def start(name: str) -> Any:
        limit = states.arrays[name]
        return vector(layer.lanes, lambda lane: tirx.BufferStore(limit, layer.zero, [lane]))

    def join(lane: PrimExpr) -> Any:
        done = []
        for name, extreme in limits:
            limit, first = states.arrays[name], [index(0)]
            value = extreme(tirx.BufferLoad(limit, first), tirx.BufferLoad(limit, [lane]))
            done.append(tirx.BufferStore(limit, value, first))
        return sequence(done)

    return sequence(
        [
            *(start(name) for name, _ in limits),
            loop(layer.batch, row, SERIAL, "row"),
            loop(layer.lanes, join, SERIAL, "lane"),
        ]
    )


def _find_scale(states: States) -> list[Any]:
    layer, first = states.layer, [index(0)]
    low, high = (tirx.BufferLoad(states.arrays[name], first) for name in ("low", "high"))
    scales, zero_point = states.arrays["range"], states.arrays["zero_point"]
    last, one = (tirx.const(value, layer.dtype) for value in (_LAST, 1))
    step = tirx.Select(high > low, (high - low) / last, one)
    place = _nearest((layer.zero - low) / tirx.BufferLoad(scales, first))
    return [
        loop(layer.batch, lambda row: tirx.BufferStore(scales, step, [row]), SERIAL, "row"),
        tirx.BufferStore(zero_point, _clip(place) - _shift(layer), first),
    ]


def _round(states: States, step: PrimExpr) -> Any:
    layer, state = states.layer, states.arrays["state"]
    rounded, now = states.arrays["state_8"], tirx.floormod(step, index(2))
    zero_point = tirx.BufferLoad(states.arrays["zero_point"], [index(0)]) + _shift(layer)

    def row(at: PrimExpr) -> Any:
        scale = tirx.BufferLoad(states.arrays["range"], [at])

        def unit(u: PrimExpr) -> Any:
            place = [now, at, u]
            number = _clip(_nearest(tirx.BufferLoad(state, place) / scale) + zero_point)
            return tirx.BufferStore(
                rounded, (number - _shift(layer)).astype(str(rounded.dtype)), place
            )

        return vectors(layer.padded, layer.lanes, unit)

    return loop(layer.batch, row, SERIAL, "row")


def _nearest(value: Any) -> Any:
    magic = tirx.const(_MAGIC, str(value.ty.dtype))
    return tirx.reinterpret("int32", value + magic) - tirx.const(_MAGIC_BITS, "int32")


def _clip(number: Any) -> Any:
    return tirx.max(tirx.min(number, tirx.const(_LAST, "int32")), tirx.const(0, "int32"))


def _shift(layer: Layer) -> Any:
    """What a number held in 8 bits is less than in ONNX's uint8."""
    assert layer.kernel is not None
    return tirx.const(ZERO_POINTS["uint8"] - ZERO_POINTS[layer.kernel.data], "int32")
