"""Our converter of ONNX Runtime's DynamicQuantizeLSTM, which its ``quantize_dynamic`` writes.

Both products are of 8-bit integers. The whole sequence is rounded once, as by
DynamicQuantizeLinear, and the state before each step, the batch as one tensor: what ONNX Runtime
does on one thread. (On several it gives each a part of the batch, with a range of its own.)

    gates = round(X) W * scales + bias + round(state) R * scales

Source: ONNX Runtime's ``contrib_ops/cpu/quantization/dynamic_quantize_lstm.cc``.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.ops_product import MatMulInteger
from tvmcomp.frontend.onnx.ops_quantize import DynamicQuantizeLinear
from tvmcomp.frontend.onnx.ops_recurrent import recurrent_layer
from tvmcomp.frontend.onnx.values import array_of, constant, shape_of
from tvmcomp.recurrent import RecurrentCell
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax

_GATES = 4
#: Inputs after B, by their position.
_SCALES = {"W": (8, 9), "R": (10, 11)}


class DynamicQuantizeLSTM(Converter):
    """DynamicQuantizeLSTM; weights are ``[D, width, 4 H]``, with scales and zero points ``[D]`` or
    ``[D, 4 H]``."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        x = inputs[0]
        if len(shape_of(x)) != 3:
            raise ValueError(f"its X has the shape {shape_of(x)}, and must have 3 dimensions")
        weight, recurrence = _weight(inputs[1], "W"), _weight(inputs[2], "R")
        directions, units = recurrence.shape[:2]
        columns = _GATES * units
        for name, array, depth in (("W", weight, shape_of(x)[2]), ("R", recurrence, units)):
            shape = (directions, depth, columns)
            if array.shape != shape:
                raise ValueError(f"its {name} is {list(array.shape)}, not {list(shape)}")
        scales = {
            name: [_by_column(inputs[i], directions, columns, name) for i in positions]
            for name, positions in _SCALES.items()
        }

        def products(cell: RecurrentCell, operands: dict[str, Any]) -> tuple[Any, Any, Any]:
            read = _that_is_read(bb, x, operands.get("lengths"))
            projected = _project(bb, read, weight, *scales["W"])
            return (*_recurrent_weight(cell, operands, recurrence, *scales["R"]), projected)

        lstm_inputs = [inputs[i] if i < 8 else None for i in range(8)]
        return recurrent_layer(bb, "lstm", lstm_inputs, attr, (directions, units), products)


def _weight(value: Any, name: str) -> np.ndarray:
    array = array_of(value)
    if array is None or array.ndim != 3:
        raise ValueError(f"its {name} must be known at build time, and have 3 dimensions")
    return array


def _by_column(value: Any, directions: int, columns: int, name: str) -> np.ndarray:
    """Scales or zero points as ``[D, columns]``."""
    array = None if value is None else array_of(value)
    if array is None:
        raise ValueError(f"the scale and zero point of its {name} must be known at build time")
    if array.shape not in ((directions,), (directions, columns)):
        raise ValueError(
            f"the scale or zero point of its {name} is {list(array.shape)}, and may be "
            f"[{directions}] or [{directions}, {columns}]"
        )
    spread = array if array.ndim == 2 else array[:, None]
    return np.broadcast_to(spread, (directions, columns))


def _that_is_read(bb: Builder, x: Expr, lengths: Any) -> Expr:
    """``x`` with 0, which widens no range, beyond the longest sequence: that much is rounded."""
    if lengths is None:
        return x
    steps = shape_of(x)[0]
    known = array_of(lengths)
    if known is not None and known.max(initial=0) == steps:
        return x
    longest = relax.op.max(lengths)
    places = constant(np.arange(steps, dtype="int32").reshape(steps, 1, 1))
    is_read = relax.op.less(places, bb.emit(longest))
    return bb.emit(relax.op.where(bb.emit(is_read), x, relax.const(np.float32(0), "float32")))


def _project(bb: Builder, x: Expr, weight: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> Expr:
    """``x [T, B, I]``, rounded, times ``weight [D, I, columns]``, as ``[T B, D columns]``."""
    steps, batch, width = shape_of(x)
    rounded = DynamicQuantizeLinear._impl_v11(bb, [x], {}, {})
    data, data_scale, data_zero = rounded.fields
    flat = bb.emit(relax.op.reshape(data, [steps * batch, width]))
    matrix = constant(np.concatenate(list(weight), axis=1))
    zeros = constant(zero.reshape(-1)) if zero.any() else None
    product = MatMulInteger._impl_v10(bb, [flat, matrix, data_zero, zeros], {}, {})
    real = bb.emit(relax.op.astype(bb.emit(product), "float32"))
    factor = bb.emit(relax.op.multiply(constant(scale.reshape(-1)), data_scale))
    return bb.emit(relax.op.multiply(real, factor))


def _recurrent_weight(
    cell: RecurrentCell,
    operands: dict[str, Any],
    weight: np.ndarray,
    scale: np.ndarray,
    zero: np.ndarray,
) -> tuple[RecurrentCell, Expr]:
    """The cell, and its weight as ``[D 4H, H]``: integers, whose scales join the operands.

    Where zero points leave differences of more than 8 bits the layer is float: no quantizer writes
    such weights.
    """
    rows = np.moveaxis(weight.astype("int32") - zero[:, None], 1, 2).reshape(-1, cell.units)
    info = np.iinfo("int8")
    if rows.size and not (info.min <= rows.min() and rows.max() <= info.max):
        return cell, constant((rows * scale.reshape(-1, 1)).astype("float32"))
    operands["weight_scale"] = constant(scale.reshape(-1))
    cell = msgspec.structs.replace(cell, dynamic_range=True)
    return cell, constant(rows.astype("int8"))


#: Operator of the com.microsoft domain -> converter.
DYNAMIC_RECURRENT = {"DynamicQuantizeLSTM": DynamicQuantizeLSTM}
