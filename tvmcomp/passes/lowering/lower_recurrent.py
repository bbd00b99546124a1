"""Lower recurrent layers to their kernel: the loop over time, its weights packed at build time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tvmcomp.passes.lowering.recurrent_rewriter import RecurrentRewriter
from tvmcomp.passes.rewriter import (
    calls_any,
    const,
    const_value,
    dtype_of,
    main_bindings,
    op_name,
)
from tvmcomp.recurrent import RECURRENT, cell_of, operands_of
from tvmcomp.schedules.recurrent.gates import phases
from tvmcomp.schedules.recurrent.integers import of_integers
from tvmcomp.schedules.recurrent.layer import tiles
from tvmcomp.schedules.recurrent.packing import pack, pack_given
from tvmcomp.schedules.recurrent.tile import Tile
from tvmcomp.schedules.recurrent.time_loop import recurrent_layer
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import Expr, Module, Var


def lower_recurrent(mod: Module, target: TargetDescription) -> Module:
    """Lower every recurrent layer of ``mod`` to its kernel."""
    return _LowerRecurrent(mod, target).run() if calls_any(mod, [RECURRENT]) else mod


class _LowerRecurrent(RecurrentRewriter):
    def __init__(self, mod: Module, target: TargetDescription) -> None:
        super().__init__(mod, target)
        #: Exchanges of the axes of all states, which the kernel does, and their layer's variable.
        self.exchanged: dict[Any, Any] = {}
        for binding in main_bindings(mod) or []:
            if op_name(binding.value) == RECURRENT and not cell_of(binding.value).batch_first:
                self.find_exchange(binding.var)

    def rewrite(self, var: Var, value: Expr) -> Expr:
        if var in self.exchanged:
            return self.substitute(value.args[0])
        return super().rewrite(var, value)

    def find_exchange(self, layer: Var) -> None:
        """Note the transpose that alone reads all states of ``layer`` and puts D before H."""
        items = [user for user in self.users[layer] if int(user.value.index) == 0]
        readers = [reader for item in items for reader in self.users[item.var]]
        if len(readers) != 1 or readers[0] is None or op_name(readers[0].value) != "permute_dims":
            return
        if [int(axis) for axis in readers[0].value.attrs.axes or ()] == [0, 2, 1, 3]:
            self.exchanged[readers[0].var] = layer

    def kernel(self, var: Var, call: Expr, wanted: Sequence[int]) -> Expr:
        cell = cell_of(call)
        if var in self.exchanged.values():
            cell = msgspec.structs.replace(cell, directions_last=True)
        operands = {name: self.substitute(arg) for name, arg in operands_of(call).items()}
        x, weight = operands.pop("x"), operands.pop("weight")
        planned = tiles(cell, dtype_of(x), self.target)
        gates = [phase.gates for phase in phases(cell, cell.activations[0])]
        packed = [
            self.packed(weight, cell.directions, of, tile, var.name)
            for of, tile in zip(gates, planned, strict=True)
        ]
        if cell.in_integers:
            scale = const_value(operands.pop("weight_scale", None))
            integers = const_value(weight)
            assert integers is not None
            numbers = of_integers(cell, integers, scale, planned, self.target)
            operands |= {name: const(array) for name, array in numbers.items()}

        def compute(x: Any, *tensors: Any) -> Any:
            weights, others = tensors[: len(packed)], tensors[len(packed) :]
            given = dict(zip(operands, others, strict=True))
            return recurrent_layer(cell, x, weights, given, wanted, self.target)

        return self.builder.call_te(
            compute, x, *packed, *operands.values(), primfunc_name_hint=var.name
        )

    def packed(
        self, weight: Expr, directions: int, gates: Sequence[int], tile: Tile, name: str
    ) -> Expr:
        array = const_value(weight)
        if array is not None:
            return const(pack(array, directions, gates, tile))
        call = self.builder.call_te(
            lambda given: pack_given(given, directions, gates, tile),
            weight,
            primfunc_name_hint=f"{name}_pack",
        )
        return self.emit(call, f"{name}_pack")
