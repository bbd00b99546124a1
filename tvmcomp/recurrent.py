"""A recurrent layer (LSTM, GRU, RNN) as one operator of Relax, from the importer to its kernel.

    sequence, state, cell = recurrent(x, weight, …)

``x`` is already multiplied: the input projection of all steps is an ordinary product in front. What
is left is the loop over time, whose steps wait for each other. Gates are in ONNX's order: LSTM's
input, output, forget, cell; GRU's update, reset, hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np

from tvmcomp.fixed_point import FixedPointLstm
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr

relax = tvm.relax

#: The operator's name, as :func:`tvmcomp.passes.rewriter.op_name` gives it.
RECURRENT = "tvmcomp.recurrent"
_OP = f"relax.{RECURRENT}"

Kind = Literal["lstm", "gru", "rnn"]
GATES: dict[Kind, int] = {"lstm": 4, "gru": 3, "rnn": 1}

#: What may follow ``x`` and ``weight``, in this order. D directions, B batch, H units.
OPTIONAL = (
    "weight_scale",  # [D G H], of a weight in int8
    "recurrent_bias",  # [D, H], of a GRU's hidden gate, inside of what is reset
    "initial_state",  # [D, B, H], or [B, D, H] where the batch comes first
    "initial_cell",  # likewise, of an LSTM
    "peepholes",  # [D, 3H]: input, output, forget
    "lengths",  # int32 [B]: steps of each sequence
)


class Activation(msgspec.Struct, frozen=True):
    """A function of the standard's list, its name in small letters."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0


class RecurrentCell(msgspec.Struct, frozen=True):
    """What a recurrent layer computes.

    Attributes:
        kind: of cell.
        units: H.
        steps: T.
        batch: B.
        backward: for each direction, whether it runs from the last step to the first.
        activations: for each direction, the cell's functions f, g, h as in the standard's equations
            (GRU has two, RNN one).
        clip: bounds what activations are given to ``[-clip, clip]``; 0 for no bound.
        input_forget: LSTM's forget gate is one less its input gate.
        reset_after: GRU's reset gate applies to the product and not to the state before it
            (ONNX's ``linear_before_reset``).
        batch_first: the batch, not time, is the first dimension (ONNX's ``layout``).
        directions_last: the states of all steps are ``[T, B, D, H]`` where the batch does not
            come first: what a layer that follows takes.
        operands: those of :data:`OPTIONAL` that are given.
        dynamic_range: of an LSTM in integers: the 8 bits span what the state of all rows is before
            each step, as ONNX Runtime's DynamicQuantizeLSTM has it, and not -1 to 1.
        fixed_point: how an LSTM computes in integers alone; None for any other layer. ``x`` is
            int32 then, the weight int8, the states int8, the cell int16.
    """

    kind: Kind
    units: int
    steps: int
    batch: int
    backward: tuple[bool, ...]
    activations: tuple[tuple[Activation, ...], ...]
    clip: float = 0.0
    input_forget: bool = False
    reset_after: bool = False
    batch_first: bool = False
    directions_last: bool = False
    operands: tuple[str, ...] = ()
    dynamic_range: bool = False
    fixed_point: FixedPointLstm | None = None

    @property
    def in_integers(self) -> bool:
        """Whether the state is rounded to 8 bits, and multiplied by int8 weights."""
        return "weight_scale" in self.operands or self.fixed_point is not None

    @property
    def is_bounded(self) -> bool:
        """Whether a state between -1 and 1 stays so: products of sigmoids and tanh, or means."""
        usual = [("sigmoid", *("tanh",) * count) for count in (1, 2)] + [("tanh",)]
        return all(tuple(f.name for f in each) in usual for each in self.activations)

    @property
    def gates(self) -> int:
        """G: products that a step takes for each unit."""
        return GATES[self.kind]

    @property
    def directions(self) -> int:
        """D."""
        return len(self.backward)

    @property
    def result_dtypes(self) -> list[str] | None:
        """Types of the results; None where they have that of ``x``."""
        return None if self.fixed_point is None else ["int8", "int8", "int16"]

    @property
    def result_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the results."""
        steps, batch, directions, units = self.steps, self.batch, self.directions, self.units
        state: tuple[int, ...] = (directions, batch, units)
        sequence: tuple[int, ...] = (steps, *state)
        if self.batch_first:
            sequence, state = (batch, steps, directions, units), (batch, directions, units)
        elif self.directions_last:
            sequence = (steps, batch, directions, units)
        return [sequence, state, state] if self.kind == "lstm" else [sequence, state]


def recurrent(cell: RecurrentCell, x: Expr, weight: Expr, operands: Mapping[str, Expr]) -> Any:
    """A call of the operator.

    Args:
        cell: what it computes; its ``operands`` are set here.
        x: ``[T B, D G H]``, or ``[B T, D G H]`` where the batch comes first: the inputs' product
            with their weights, and all biases but ``recurrent_bias``.
        weight: ``[D G H, H]``, of the same type, or int8 with a ``weight_scale``.
        operands: by the names in :data:`OPTIONAL`.

    Returns:
        A call that gives a tuple: the states of all steps ``[T, D, B, H]`` (``[B, T, D, H]``), the
        last state ``[D, B, H]`` (``[B, D, H]``), and an LSTM's last cell likewise.
    """
    given = tuple(name for name in OPTIONAL if name in operands)
    cell = msgspec.structs.replace(cell, operands=given)
    attributes = tvm.ir.make_node("ir.DictAttrs", cell=msgspec.json.encode(cell).decode())
    arguments = [x, weight, *(operands[name] for name in given)]
    return relax.Call(tvm.ir.Op.get(_OP), arguments, attributes)


def in_integers(call: Call, weight: np.ndarray, scale: np.ndarray) -> Any:
    """The layer of ``call`` with its state in 8 bits.

    Args:
        call: of the operator; its state must stay between -1 and 1.
        weight: int8 ``[D G H, H]``.
        scale: of each of its rows, float32.
    """
    operands = operands_of(call)
    x = operands.pop("x")
    del operands["weight"]
    operands["weight_scale"] = relax.const(np.ascontiguousarray(scale), "float32")
    return recurrent(cell_of(call), x, relax.const(weight, "int8"), operands)


def cell_of(call: Call) -> RecurrentCell:
    """What a call of the operator computes."""
    return msgspec.json.decode(str(call.attrs["cell"]), type=RecurrentCell)


def operands_of(call: Call) -> dict[str, Any]:
    """The arguments of a call of the operator by name, ``x`` and ``weight`` first."""
    return dict(zip(("x", "weight", *cell_of(call).operands), call.args, strict=True))


def _infer_type(call: Call, _builder: Any) -> Any:
    x = call.args[0].ty
    cell = cell_of(call)
    dtypes = cell.result_dtypes or [str(x.dtype)] * len(cell.result_shapes)
    fields = zip(cell.result_shapes, dtypes, strict=True)
    return relax.TupleType([relax.TensorType(shape, dtype) for shape, dtype in fields])


def _register() -> None:
    register = tvm.ir._ffi_api
    register.RegisterOp(_OP, "a recurrent layer whose input is projected already")
    register.RegisterOpAttr(_OP, "FPurity", True, 10)
    register.RegisterOpAttr(_OP, "FInferType", _infer_type, 10)


_register()
