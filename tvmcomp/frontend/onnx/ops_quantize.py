"""Our converter of DynamicQuantizeLinear: the range of the data is found once, not once a use."""

from __future__ import annotations

from typing import Any

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.tvm_import import tvm

relax = tvm.relax


class DynamicQuantizeLinear(Converter):
    """DynamicQuantizeLinear, to uint8; the range holds 0, and a range of nothing has the scale 1,
    as with ONNX Runtime."""

    @classmethod
    def _impl_v11(cls, bb: Any, inputs: Any, attr: dict[str, Any], params: Any) -> Any:
        data = inputs[0]
        zero, one, steps = (relax.const(number, "float32") for number in (0, 1, 255))
        high = bb.emit(relax.op.maximum(zero, relax.op.max(data)))
        low = bb.emit(relax.op.minimum(zero, relax.op.min(data)))
        step = relax.op.divide(relax.op.subtract(high, low), steps)
        scale = bb.emit(relax.op.where(relax.op.equal(high, low), one, step))
        place = relax.op.round(
            relax.op.clip(relax.op.divide(relax.op.negative(low), scale), 0, 255)
        )
        zero_point = bb.emit(relax.op.astype(place, "uint8"))
        quantized = relax.op.quantize(data, scale, zero_point, axis=0, out_dtype="uint8")
        return relax.Tuple([bb.emit(quantized), scale, zero_point])


#: ONNX operator -> converter.
QUANTIZE = {"DynamicQuantizeLinear": DynamicQuantizeLinear}
