"""Our converters of recurrent layers: the input's product in front, then one operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.ops_product import reshaped
from tvmcomp.frontend.onnx.recurrent_rules import functions_of
from tvmcomp.frontend.onnx.values import array_of, constant, dtype_of, shape_of
from tvmcomp.recurrent import Kind, RecurrentCell, recurrent
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax

#: Inputs after X, W, R, B, by the kind of cell: their name as the operator's operands.
_OTHERS: dict[Kind, tuple[str, ...]] = {
    "lstm": ("lengths", "initial_state", "initial_cell", "peepholes"),
    "gru": ("lengths", "initial_state"),
    "rnn": ("lengths", "initial_state"),
}


#: Of a cell and its operands, to which it may add: the cell, its recurrent weight ``[D G H, H]``,
#: and the input's product with its weights ``[rows of X, D G H]``.
Products = Callable[[RecurrentCell, dict[str, Any]], tuple[RecurrentCell, Any, Any]]


class _Recurrent(Converter):
    kind: Kind

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        x, weight, recurrent_weight = (inputs[i] for i in range(3))
        directions, _, units = shape_of(recurrent_weight)

        def products(cell: RecurrentCell, _operands: dict[str, Any]) -> tuple[Any, Any, Any]:
            rows = directions * cell.gates * units
            return cell, reshaped(bb, recurrent_weight, [rows, units]), _project(bb, x, weight)

        return recurrent_layer(bb, cls.kind, inputs, attr, (directions, units), products)


def recurrent_layer(
    bb: Builder,
    kind: Kind,
    inputs: Inputs,
    attr: dict[str, Any],
    size: tuple[int, int],
    products: Products,
) -> Any:
    """The results of a layer of any kind.

    Args:
        bb: what emits.
        kind: of its cell.
        inputs: X, two that ``products`` knows, B, and those of the standard that follow.
        attr: the node's.
        size: directions and units.
        products: called where there is something to compute.
    """
    (directions, units), x, bias = size, inputs[0], inputs[3]
    direction = attr.get("direction", b"forward").decode()
    batch_first = bool(attr.get("layout", 0))
    batch, steps = shape_of(x)[:2] if batch_first else shape_of(x)[1::-1]
    cell = RecurrentCell(
        kind,
        units,
        steps,
        batch,
        {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[direction],
        functions_of(kind, directions, attr),
        clip=float(attr.get("clip", 0.0)),
        input_forget=bool(attr.get("input_forget", 0)),
        reset_after=bool(attr.get("linear_before_reset", 0)),
        batch_first=batch_first,
    )
    operands = {name: inputs[4 + i] for i, name in enumerate(_OTHERS[kind])}
    given = {name: value for name, value in operands.items() if value is not None}
    if "lengths" in given:
        given["lengths"] = bb.emit(relax.op.astype(given["lengths"], "int32"))
    if 0 in shape_of(x)[:2] or not units:
        return relax.Tuple(list(_without_steps(cell, x, given)))
    added, reset = _biases(bb, cell, bias)
    if reset is not None:
        given["recurrent_bias"] = reset
    cell, recurrent_weight, projected = products(cell, given)
    if added is not None:
        projected = bb.emit(relax.op.add(projected, added))
    result = bb.emit(recurrent(cell, projected, recurrent_weight, given))
    count = len(result.ty.fields)
    return relax.Tuple([relax.TupleGetItem(result, number) for number in range(count)])


class LSTM(_Recurrent):
    """LSTM."""

    kind = "lstm"


class GRU(_Recurrent):
    """GRU."""

    kind = "gru"


class RNN(_Recurrent):
    """RNN."""

    kind = "rnn"


def _project(bb: Builder, x: Expr, weight: Expr) -> Any:
    """``x [.., .., I]`` times ``weight [D, G H, I]``.

    Steps and batch are together the rows of one matrix: a batch of 1 makes no blocks.
    """
    directions, rows, width = shape_of(weight)
    count = int(np.prod(shape_of(x)[:2]))
    columns = directions * rows
    array = array_of(weight)
    if array is not None:
        matrix = constant(array.reshape(columns, width).T)
    else:
        matrix = bb.emit(relax.op.reshape(weight, [columns, width]))
        matrix = bb.emit(relax.op.permute_dims(matrix, [1, 0]))
    if not width:
        return constant(np.zeros((count, columns), dtype_of(x)))
    flat = bb.emit(relax.op.reshape(x, [count, width]))
    return bb.emit(relax.op.matmul(flat, matrix))


def _biases(bb: Builder, cell: RecurrentCell, bias: Any) -> tuple[Any, Any]:
    """Of ``bias [D, 2 G H]``: what is added to the input's product ``[D G H]``, and what belongs
    inside of a GRU's reset ``[D, H]``; None for none."""
    if bias is None:
        return None, None
    size, units = cell.gates * cell.units, cell.units
    array = array_of(bias)
    inside = cell.kind == "gru" and cell.reset_after
    if array is not None:
        of_input, of_state = array[:, :size].copy(), array[:, size:]
        outer = size - units if inside else size
        of_input[:, :outer] += of_state[:, :outer]
        return constant(of_input.reshape(-1)), constant(of_state[:, outer:]) if inside else None

    def part(begin: int, end: int) -> Any:
        return bb.emit(relax.op.strided_slice(bias, [1], [begin], [end]))

    if not inside:
        total = bb.emit(relax.op.add(part(0, size), part(size, 2 * size)))
        return bb.emit(relax.op.reshape(total, [-1])), None
    outer = size - units
    gates = bb.emit(relax.op.add(part(0, outer), part(size, size + outer)))
    total = bb.emit(relax.op.concat([gates, part(outer, size)], 1))
    return bb.emit(relax.op.reshape(total, [-1])), part(size + outer, 2 * size)


def _without_steps(cell: RecurrentCell, x: Expr, given: dict[str, Any]) -> Iterator[Any]:
    """The results where there is nothing to compute: the initial state, and tensors of nothing."""
    shapes = cell.result_shapes
    yield constant(np.zeros(shapes[0], dtype_of(x)))
    for name, shape in zip(("initial_state", "initial_cell"), shapes[1:], strict=False):
        value = given.get(name)
        yield constant(np.zeros(shape, dtype_of(x))) if value is None else value


#: ONNX operator -> converter.
RECURRENT = {"GRU": GRU, "LSTM": LSTM, "RNN": RNN}
