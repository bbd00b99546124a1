"""The bodies of loops as functions of the imported module, and the calls of the loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.frontend.onnx.values import TensorSequence, dtype_of, shape_of
from tvmcomp.loops import LOOP_BODY, LoopForm, loop
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module

relax = tvm.relax


class Captured:
    """What a body reads from outside: a constant as it is, a tensor as a parameter.

    Attributes:
        values: tensors, outside.
        parameters: of the body, for each of them.
    """

    def __init__(self, outer: Callable[[str], Any]) -> None:
        """``outer`` gives a tensor from outside by its name."""
        self.outer = outer
        self.values: list[Any] = []
        self.parameters: list[Any] = []

    def __call__(self, name: str) -> Any:
        """The tensor ``name`` inside of the body."""
        value = self.outer(name)
        if isinstance(value, TensorSequence):
            raise ValueError(f"its body reads {name!r}, which is a sequence")
        if isinstance(value, tvm.ir.GenericConst):
            return value
        if not isinstance(value, relax.Var):
            raise ValueError(f"its body reads {name!r}, which is no tensor")
        self.values.append(value)
        self.parameters.append(relax.Var(str(value.name), value.ty))
        return self.parameters[-1]


class Bodies:
    """The bodies that were imported, with the kernels that their operators are made of."""

    def __init__(self) -> None:
        self.modules: dict[str, Any] = {}

    def call(
        self,
        body: Module,
        attributes: Mapping[str, Any],
        name: str,
        head: Sequence[Any],
        first: Sequence[Any],
        captured: Sequence[Any],
    ) -> Any:
        """Note a body, and call its loop.

        Args:
            body: a module whose ``main`` is the body.
            attributes: of the node.
            name: of the body in the module.
            head: its trip count and whether it begins; None where they are left out.
            first: the states that it begins with.
            captured: what else the body reads.

        Raises:
            ValueError: a state changes its type or shape.
        """
        conditional, bound = bool(attributes["conditional"]), int(attributes["bound"])
        types = list(body["main"].ret_ty.fields)[conditional:]
        states, rows = types[: len(first)], types[len(first) :]
        for before, after in zip(first, states, strict=True):
            kinds = [(shape_of(each), dtype_of(each)) for each in (before, relax.Var("x", after))]
            if kinds[0] != kinds[1]:
                raise ValueError(f"it carries {before.ty}, and a trip makes {after} of it")
        shapes = [*map(_dims, states), *((bound, *_dims(row)) for row in rows)]
        dtypes = [str(ty.dtype) for ty in types]
        form = LoopForm(name, shapes, dtypes, len(first), bound, conditional)
        self.modules[name] = body
        most = bound or np.iinfo("int64").max
        trips = relax.const(np.int64(most), "int64") if head[0] is None else head[0]
        going = relax.const(True, "bool") if head[1] is None else head[1]
        return loop(form, trips, going, [*first, *captured])

    def added_to(self, mod: Module) -> Any:
        """``mod`` with all bodies."""
        for name, body in self.modules.items():
            taken = {str(var.name_hint) for var in mod.functions}
            new = {
                var: tvm.ir.GlobalVar(_free(str(var.name_hint), taken))
                for var in body.functions
                if str(var.name_hint) in taken and var.name_hint != "main"
            }
            for var, func in body.functions.items():
                if var.name_hint == "main":
                    func = tvm_ffi.structural_map(
                        func, (tvm.ir.GlobalVar, lambda each, new=new: new.get(each, each))
                    )
                    func = func.with_attr("global_symbol", name).with_attr(LOOP_BODY, 0)
                    var = tvm.ir.GlobalVar(name)
                mod.update_func(new.get(var, var), func)
        return mod


def _free(name: str, taken: set[str]) -> str:
    number = 1
    while f"{name}_{number}" in taken:
        number += 1
    taken.add(f"{name}_{number}")
    return f"{name}_{number}"


def _dims(ty: Any) -> tuple[int, ...]:
    return tuple(int(dim) for dim in ty.shape)
