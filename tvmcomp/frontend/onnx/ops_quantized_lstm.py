"""Our converter of ``tvmcomp.QuantizedLSTM``: the input's product in front, then one operator."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.fixed_point import fixed_point_lstm
from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.quantized_lstm import QUANTIZED_LSTM
from tvmcomp.frontend.onnx.values import array_of, constant, dtype_of, shape_of
from tvmcomp.recurrent import Activation, RecurrentCell, recurrent
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax

_USUAL = (Activation("sigmoid"), Activation("tanh"), Activation("tanh"))


class QuantizedLSTM(Converter):
    """QuantizedLSTM."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        x = inputs[0]
        steps, batch, width = _sizes(x)
        units, x_zero_point = attr["hidden_size"], attr["x_zero_point"]
        weight = _constant(inputs[1], "int8", (4 * units, width))
        recurrent_weight = _constant(inputs[2], "int8", (4 * units, units))
        bias = _constant(inputs[3], "int32", (4 * units,))
        if not -128 <= x_zero_point <= 127:
            raise ValueError(f"the zero point of its input is {x_zero_point}")
        numbers = fixed_point_lstm(
            attr["x_scale"],
            attr["w_scales"],
            (attr["y_scale"], attr["y_zero_point"]),
            (attr["h_scale"], attr["h_zero_point"]),
            attr["r_scales"],
            attr["cell_exponent"],
            attr["cell_clip"],
        )
        if not (steps and batch and units):
            return constant(np.zeros((steps, batch, units), "int8"))
        flat = bb.emit(relax.op.reshape(x, [steps * batch, width]))
        product = bb.emit(relax.op.matmul(flat, constant(weight.T), out_dtype="int32"))
        share = weight.sum(axis=1, dtype=np.int32) * np.int32(x_zero_point)
        product = bb.emit(relax.op.add(product, constant(bias - share)))
        cell = RecurrentCell("lstm", units, steps, batch, (False,), (_USUAL,), fixed_point=numbers)
        result = bb.emit(recurrent(cell, product, constant(recurrent_weight), {}))
        states = bb.emit(relax.TupleGetItem(result, 0))
        return relax.op.reshape(states, [steps, batch, units])


def _constant(value: Expr, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    array = array_of(value)
    if array is None or array.dtype != dtype or array.shape != shape:
        raise ValueError(f"a weight of it must be a constant {dtype}{list(shape)}, and is not")
    return array


def _sizes(x: Expr) -> tuple[int, int, int]:
    shape = shape_of(x)
    if len(shape) != 3 or dtype_of(x) != "int8":
        raise ValueError(f"its input is {dtype_of(x)}{list(shape)}, and must be int8 of 3 axes")
    return shape[0], shape[1], shape[2]


#: Operator of our domain -> converter.
OWN = {QUANTIZED_LSTM: QuantizedLSTM}
