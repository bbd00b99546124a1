"""Which operators run in integers, and which tensors are quantized for them.

The rules, for a float module in NHWC:

1. An *anchor* (convolution, or matrix product with a constant right side) is quantized: its data
   per tensor, its weight per output channel.
2. Any other operator is quantized only where an integer operator reads its result (through
   operators that merely move data): an addition between float operators gains nothing from it.
3. What is computed in the registers of an anchor's kernel (bias, ReLU, hard-swish, the addition of
   a residual) is not rounded in between: only the operands that come from memory are quantized. Nor
   is what follows arithmetic on such operands in registers of its own (batch norm and ReLU in
   front of a convolution).
4. A chain of element-wise operators on one tensor becomes a lookup table, unless it is cheap and
   follows an anchor (rule 3).
5. Operators that move data, and maxima, take quantized data as it is.
6. A recurrent layer multiplies its state in 8 bits, in the range from -1 to 1 that its activations
   give it, by weights of one scale a row; nothing is calibrated for that.
7. An embedding (rows taken out of a constant table) stores its table as int8 with a scale a row;
   what it gives is float. It saves memory, not time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

import numpy as np

from tvmcomp.passes.elementwise import CHEAP, is_float_tensor, unary_sources
from tvmcomp.passes.operator_kinds import ANCHORS, AVERAGES, PASS_THROUGH
from tvmcomp.passes.rewriter import (
    Constant,
    const_value,
    consumers,
    dtype_of,
    main_bindings,
    op_name,
    shape_of,
)
from tvmcomp.quantize.config import QuantConfig
from tvmcomp.quantize.planned_operator import PlannedOperator
from tvmcomp.quantize.reasons import IN_REGISTERS, KEPT_AS_ASKED, KEPT_BY_GUARD
from tvmcomp.recurrent import RECURRENT, cell_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Binding, Call, Module, Var

relax = tvm.relax

_TWO_OPERANDS = frozenset(["add", "multiply", "subtract", "maximum", "minimum"])

#: In shorter rows of an embedding the scales would take most of what int8 saves.
_SHORTEST_ROW = 16


def plan_operators(
    mod: Module,
    config: QuantConfig | None = None,
    keep_float: Collection[str] = (),
    weight_only: Collection[str] = (),
    faster: Mapping[str, str] | None = None,
) -> list[PlannedOperator]:
    """Plan the quantization of ``mod``, in program order.

    Args:
        mod: float Relax in NHWC.
        config: settings by operator.
        keep_float: names that stay float whatever the configuration says (the accuracy guard's).
        weight_only: those of ``keep_float`` whose weights are stored as int8 nevertheless, and of
            ``faster`` whose weights keep 8 bits; those of the others of ``keep_float`` are stored
            as float16.
        faster: names that stay float because they are faster so, and what tells.
    """
    return planner(mod, config or QuantConfig())(keep_float, weight_only, faster)


def planner(mod: Module, config: QuantConfig) -> Callable[..., list[PlannedOperator]]:
    """:func:`plan_operators` of one network, to be called again and again with other operators kept
    in float: what the network and its weights tell is looked at once."""
    return _Planner(mod, config).plan


class _Planner:
    def __init__(self, mod: Module, config: QuantConfig) -> None:
        self.bindings: list[Any] = main_bindings(mod) or []
        self.config = config
        self.keep_float: frozenset[str] = frozenset()
        self.weight_only: frozenset[str] = frozenset()
        self.faster: Mapping[str, str] = {}
        self.users: dict[Var, list[Binding]] = consumers(mod)
        self.producer = {binding.var: binding for binding in self.bindings}
        self.position = {binding.var: i for i, binding in enumerate(self.bindings)}
        #: What the chain of element-wise operators on one tensor starts at.
        self.source = unary_sources(self.bindings)
        #: Why the weight of an anchor can't be quantized; None where it can.
        self.weight_refused = {
            binding.var: _anchor_refusal(binding.value)
            for binding in self.bindings
            if op_name(binding.value) in ANCHORS
        }

    def plan(
        self,
        keep_float: Collection[str] = (),
        weight_only: Collection[str] = (),
        faster: Mapping[str, str] | None = None,
    ) -> list[PlannedOperator]:
        """See :func:`plan_operators`."""
        self.keep_float, self.weight_only = frozenset(keep_float), frozenset(weight_only)
        self.faster = faster or {}
        #: Why an operator may not be quantized at all; None where it may.
        self.refused = {binding.var: self.refusal(binding) for binding in self.bindings}
        self.chain = self.anchor_chains()
        self.wanted = self.wanted_in_integers()
        #: Tensors that integers hold, as far as the plan has come.
        self.capable: set[Var] = set()
        planned = []
        for binding in self.bindings:
            if isinstance(binding.value, tvm.ir.Call):
                operator = self.operator(binding)
                planned.append(operator)
                gives_float = operator.is_embedding or operator.is_recurrent
                in_integers = operator.quantized and not gives_float
                if in_integers and self.starts_chain(binding):
                    self.chain.add(binding.var)
                if in_integers or binding.var in self.chain:
                    self.capable.add(binding.var)
            elif isinstance(binding.value, relax.TupleGetItem) and (
                binding.value.tuple_value in self.capable
            ):
                self.capable.add(binding.var)
        return planned

    def stored(self, binding: Binding) -> Literal["int8", "float16", "float32"] | None:
        """How the weight of an anchor is stored that the guard, or the clock, keeps in float."""
        name, kind = str(binding.var.name), op_name(binding.value)
        kept = name in self.keep_float or name in self.faster
        if not kept or kind not in ANCHORS or self.weight_refused[binding.var]:
            return None
        if name in self.faster:  # To widen it would take time.
            return "float32" if name in self.weight_only else None
        return "int8" if name in self.weight_only else "float16"

    def refusal(self, binding: Binding) -> str | None:
        """Why the operator may not be quantized at all; None where it may."""
        name = op_name(binding.value)
        if name is None:
            return "no operator"
        if binding.var.name in self.keep_float:
            return KEPT_BY_GUARD
        if str(binding.var.name) in self.faster:
            return self.faster[str(binding.var.name)]
        if self.config.for_operator(binding.var.name, name).dtype == "float":
            return KEPT_AS_ASKED
        if name in ANCHORS:
            return self.weight_refused[binding.var]
        if name == RECURRENT:
            return _recurrent_refusal(binding.value)
        return None

    def is_anchor(self, var: Var) -> bool:
        binding = self.producer.get(var)
        name = op_name(binding.value) if binding is not None else None
        return name in ANCHORS and self.refused[var] is None

    def anchor_chains(self) -> set[Var]:
        """Results that an anchor's kernel computes in registers, in its own shape."""
        chain = set()
        for binding in self.bindings:
            if self.is_anchor(binding.var) or (
                op_name(binding.value) in CHEAP
                and any(
                    arg in chain and shape_of(arg) == shape_of(binding.var)
                    for arg in binding.value.args
                    if isinstance(arg, relax.Var)
                )
            ):
                chain.add(binding.var)
        return chain

    def starts_chain(self, binding: Binding) -> bool:
        """Whether a quantized operator's one reader computes on in the same registers."""
        kind = op_name(binding.value)
        return kind in CHEAP and kind in _TWO_OPERANDS and len(self.users[binding.var]) == 1

    def wanted_in_integers(self) -> set[Var]:
        """Tensors that some quantized operator reads, found from the outputs backwards."""
        wanted: set[Var] = set()
        for binding in reversed(self.bindings):
            name = op_name(binding.value)
            if isinstance(binding.value, relax.TupleGetItem):
                passes = binding.var in wanted
            elif self.is_anchor(binding.var):
                wanted.add(binding.value.args[0])
                continue
            else:
                passes = (
                    binding.var in wanted
                    and self.refused[binding.var] is None
                    and (
                        name in PASS_THROUGH
                        or name in AVERAGES
                        or name in _TWO_OPERANDS
                        or binding.var in self.source
                    )
                )
            if passes:
                wanted.update(relax.analysis.free_vars(binding.value))
        return wanted

    def operator(self, binding: Binding) -> PlannedOperator:
        var, call = binding.var, binding.value
        kind = op_name(call) or "call_tir"
        refused = self.refused[var]
        if refused is not None:
            return PlannedOperator(var, kind, reason=refused, stored=self.stored(binding))
        if self.is_anchor(var):
            return PlannedOperator(var, kind, (call.args[0],), (var,), True)
        if kind == RECURRENT or _is_embedding(call):
            return PlannedOperator(var, kind, quantized=True)
        if var not in self.wanted:
            if var in self.chain:
                return PlannedOperator(var, kind, reason=IN_REGISTERS)
            return PlannedOperator(var, kind, reason=self.float_reason(kind, var))
        if kind in PASS_THROUGH:
            moved = relax.analysis.free_vars(call)
            if all(arg in self.capable for arg in moved):
                return PlannedOperator(var, kind, (), (), True)
            return PlannedOperator(var, kind, reason="it moves float data")
        if var in self.source:
            return self.table(var, kind)
        if kind in AVERAGES:
            data = call.args[0]
            if kind != "mean" and call.attrs.ceil_mode:
                return PlannedOperator(var, kind, reason="ceil_mode has no integer form")
            if data in self.capable:
                return PlannedOperator(var, kind, (data,), (var,), True)
            return PlannedOperator(var, kind, reason="its input is float")
        if kind in _TWO_OPERANDS:
            return self.two_operands(var, kind, call)
        return PlannedOperator(var, kind, reason=self.float_reason(kind, var))

    def float_reason(self, kind: str, var: Var) -> str:
        known = kind in PASS_THROUGH | AVERAGES | _TWO_OPERANDS or var in self.source
        if known and is_float_tensor(var):
            return "no integer operator reads its result"
        if not isinstance(var.ty, relax.TensorType):
            return "no integer form"
        return "no integer form" if is_float_tensor(var) else f"it computes {dtype_of(var)}"

    def table(self, var: Var, kind: str) -> PlannedOperator:
        root = self.source[var]
        members = self.between(root, var)
        if root in self.chain and all(
            op_name(self.producer[member].value) in CHEAP for member in members
        ):
            return PlannedOperator(var, kind, (), (), True)
        inner = any(
            user is not None
            and self.source.get(user.var) is not None
            and self.source[user.var].same_as(root)
            for user in self.users[var]
        )
        if root not in self.capable:
            return PlannedOperator(var, kind, reason="its input is float")
        if inner and len(self.users[var]) == 1:
            return PlannedOperator(var, kind, (), (), True)  # Inside a longer chain's table.
        readers = tuple(
            member for member in members
            if any(arg.same_as(root) for arg in self.producer[member].value.args)
        )  # fmt: skip
        return PlannedOperator(var, kind, (root,), readers, True)

    def between(self, root: Any, var: Var) -> list[Any]:
        """The members of the chain from ``root`` to ``var``, ``var`` included."""
        members: list[Any] = []
        pending = [var]
        while pending:
            current = pending.pop()
            if current.same_as(root) or any(current.same_as(m) for m in members):
                continue
            members.append(current)
            pending += [a for a in self.producer[current].value.args if isinstance(a, relax.Var)]
        return members

    def two_operands(self, var: Var, kind: str, call: Call) -> PlannedOperator:
        operands = [arg for arg in call.args if isinstance(arg, relax.Var)]
        in_registers = [
            arg for arg in operands
            if arg in self.chain and shape_of(arg) == shape_of(var) and len(self.users[arg]) == 1
        ]  # fmt: skip
        register = max(in_registers, key=lambda arg: self.position[arg], default=None)
        reads = tuple(arg for arg in operands if arg in self.capable and arg is not register)
        if not reads and register is None:
            return PlannedOperator(var, kind, reason="its inputs are float")
        return PlannedOperator(var, kind, reads, (var,), True)


def _anchor_refusal(call: Call) -> str | None:
    weight = const_value(call.args[1])
    if weight is None:
        return "its right side is not a constant"
    if weight.dtype != np.float32:
        return f"its weight is {weight.dtype}"
    if op_name(call) == "matmul" and (weight.ndim != 2 or len(shape_of(call.args[0])) < 2):
        return "its weight is not a matrix"
    if not np.isfinite(weight).all():
        return "its weight is not finite"
    return None


def _recurrent_refusal(call: Call) -> str | None:
    """Why a recurrent layer can't multiply in integers; None where it can."""
    weight = const_value(call.args[1])
    if weight is None:
        return "its recurrent weight is not a constant"
    if weight.dtype != np.float32:
        return f"its recurrent weight is {weight.dtype}"
    if not np.isfinite(weight).all():
        return "its recurrent weight is not finite"
    if not cell_of(call).is_bounded:
        return "its activations don't keep the state between -1 and 1"
    return None


def _is_embedding(call: Call) -> bool:
    if op_name(call) != "take" or call.attrs.axis is None or int(call.attrs.axis) != 0:
        return False
    table = call.args[0]
    return (
        isinstance(table, Constant)
        and dtype_of(table) == "float32"
        and len(shape_of(table)) == 2
        and shape_of(table)[1] >= _SHORTEST_ROW
    )
