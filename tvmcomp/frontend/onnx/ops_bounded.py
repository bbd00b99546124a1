"""Our converter of ``tvmcomp.Places``: the true elements of a mask, for :mod:`.bounded`."""

from __future__ import annotations

from typing import Any

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.values import shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

# isort: split
from tvm.script.ir_builder import IRBuilder  # noqa: TID253
from tvm.script.ir_builder import tirx as T  # noqa: TID253

relax, te, tirx = tvm.relax, tvm.te, tvm.tirx


class Places(Converter):
    """The places ``[N]`` of what is true in a mask ``[N]``, in order, then zeros; their number."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        (size,) = shape_of(inputs[0])

        def compute(mask: Any) -> Any:
            return te.extern(
                [(size,), (1,)],
                [mask],
                lambda ins, outs: _kernel(ins[0], outs[0], outs[1], size),
                dtype=["int64", "int64"],
                name="places",
            )

        return bb.emit_te(compute, inputs[0])


def _kernel(mask: Any, places: Any, count: Any, size: int) -> Any:
    with IRBuilder() as builder:
        with T.serial(0, 1):  # it holds the statements together
            mask, places, count = map(T.buffer_proxy, (mask, places, count))
            with T.serial(0, size) as i:
                places[i] = tirx.const(0, "int64")
            count[0] = tirx.const(0, "int64")
            with T.serial(0, size) as i, T.If(mask[i]), T.Then():
                places[count[0]] = tirx.Cast("int64", i)
                count[0] = count[0] + tirx.const(1, "int64")
        return builder.get()


#: Operator of our domain -> converter.
BOUNDED = {"Places": Places}
