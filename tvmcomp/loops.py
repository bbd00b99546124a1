"""A loop as one operator of Relax, from the importer until its kernels are scheduled.

    states, rows = loop(trips, going, states, outer; body)

    i = 0
    while going and i < trips:
        going, states, row = body(i, states, outer)
        rows[i] = row
        i += 1

The body is a function of the module, known by its name (:data:`LOOP_BODY` marks it), so that every
pass does with it what it does with ``main`` (:mod:`tvmcomp.passes.bodies`). Relax's own means, a
function that calls itself, would hide it from them and needs a frame of the stack for every trip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module

relax = tvm.relax

#: The operator's name, as :func:`tvmcomp.passes.rewriter.op_name` gives it.
LOOP = "tvmcomp.loop"
_OP = f"relax.{LOOP}"
#: The attribute of a function that is a body.
LOOP_BODY = "tvmcomp.loop_body"


class LoopForm(msgspec.Struct, frozen=True):
    """What a loop is, but for its operands.

    Attributes:
        body: the function's name: ``(i, states…, outer…, constants…) -> (going?, states…, rows…)``,
            ``i`` int64, ``going`` bool, both of no dimensions.
        shapes, dtypes: of the results: the states first, then the rows of all trips, the trips on
            their first axis.
        states: how many of these are states.
        trips: how often it runs at most; 0 where nothing bounds it.
        conditional: the body says whether to go on; without, it runs ``trips`` times.
    """

    body: str
    shapes: list[tuple[int, ...]]
    dtypes: list[str]
    states: int
    trips: int
    conditional: bool

    @property
    def rows(self) -> int:
        """How many results are rows of all trips."""
        return len(self.shapes) - self.states


def loop(form: LoopForm, trips: Expr, going: Expr, operands: Sequence[Expr]) -> Any:
    """A call of the operator, which gives a tuple.

    Args:
        form: what it is.
        trips: how often it runs at most, int64 of no dimensions.
        going: whether it begins, bool of no dimensions.
        operands: what the states begin with, then what else the body reads.
    """
    attributes = tvm.ir.make_node("ir.DictAttrs", loop=msgspec.json.encode(form).decode())
    return relax.Call(tvm.ir.Op.get(_OP), [trips, going, *operands], attributes)


def loop_form(call: Call) -> LoopForm:
    """What a call of the operator is."""
    return msgspec.json.decode(str(call.attrs["loop"]), type=LoopForm)


def is_loop(expr: Expr) -> bool:
    """Whether ``expr`` is a call of the operator."""
    op = expr.op if isinstance(expr, tvm.ir.Call) else None
    return isinstance(op, tvm.ir.Op) and op.name == _OP


def loop_bodies(mod: Module) -> list[str]:
    """The names of the bodies in ``mod``, those of inner loops before their outer ones'."""
    bodies = {
        str(var.name_hint): func
        for var, func in mod.functions.items()
        if isinstance(func, relax.Function) and func.attrs and LOOP_BODY in func.attrs.keys()  # noqa: SIM118
    }
    ordered: list[str] = []

    def visit(name: str) -> None:
        for call in loops_of(bodies[name]):
            if loop_form(call).body in bodies:  # else it is seen as ``main``
                visit(loop_form(call).body)
        if name not in ordered:
            ordered.append(name)

    for name in sorted(bodies):
        visit(name)
    return ordered


def loops_of(func: Any) -> list[Any]:
    """The loops that a function of the module runs itself."""
    found = []
    for block in getattr(func.body, "blocks", ()):
        found += [binding.value for binding in block.bindings if is_loop(binding.value)]
    return found


def _infer_type(call: Call, _builder: Any) -> Any:
    form = loop_form(call)
    fields = zip(form.shapes, form.dtypes, strict=True)
    return relax.TupleType([relax.TensorType(shape, dtype) for shape, dtype in fields])


def _register() -> None:
    register = tvm.ir._ffi_api
    register.RegisterOp(_OP, "a loop whose body is a function of the module")
    register.RegisterOpAttr(_OP, "FPurity", True, 10)
    register.RegisterOpAttr(_OP, "FInferType", _infer_type, 10)


_register()
