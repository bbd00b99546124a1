"""Joins and parts without copies: producers write into the whole, readers read from the whole.

:mod:`tvmcomp.passes.lowering.keep_moves` leaves joins and parts as kernels. Over scheduled kernels
this pass replaces them by places:

    a = conv_0(...)                 w = conv_0'(...)         into its channels of the whole
    b = conv_1(...)                 w = conv_1'(..., w)      in place, into the others
    c = join(a, b)           ->
    d = conv_2(c)                   d = conv_2(w)
    e = conv_3(part(c))             e = conv_3'(w)           reads from an offset on

A join that a larger one repeats (a dense block's) has no whole of its own: it is the beginning of
the larger. What can't write in place is copied there, by a plain copy: a tensor that lies in
another whole, an input, what a kernel of several results gives. A kernel that takes a tensor by
address reads a whole, never a place in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvmcomp.passes.bodies import called_kernels
from tvmcomp.passes.rewriter import BindingRewriter, dtype_of, shape_of
from tvmcomp.passes.scheduled.place_buffers import Placement, fill_border, place_buffers
from tvmcomp.passes.scheduled.places import Place, Plan, Whole, kernel_of, plan_places
from tvmcomp.schedules import apply_schedule
from tvmcomp.schedules.rows.moves import copy
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module, PrimExpr, Var

relax = tvm.relax


def move_in_place(mod: Module, target: TargetDescription) -> Module:
    """Remove the joins and parts of ``mod``, scheduled kernels for ``target``."""
    plan = plan_places(mod)
    if not plan.joins and not plan.places:
        return mod
    pass_ = _InPlace(mod, plan, target)
    new = pass_.run()
    replaced = {name.name_hint for name in pass_.replaced} - called_kernels(new)
    return tvm.IRModule(
        {name: func for name, func in new.functions.items() if name.name_hint not in replaced}
    )


class _InPlace(BindingRewriter):
    def __init__(self, mod: Module, plan: Plan, target: TargetDescription) -> None:
        super().__init__(mod)
        self.plan = plan
        self.target = target
        #: Whole -> the newest variable that holds it.
        self.held: dict[Whole, Any] = {}
        #: Whole -> offsets of the parts that are written.
        self.written: dict[Whole, set[tuple[int, ...]]] = {}
        self.variants: dict[Any, Any] = {}
        self.copies: dict[Any, Any] = {}
        #: Kernels that something else is called in place of.
        self.replaced: set[Any] = set()

    def rewrite(self, var: Var, value: PrimExpr) -> Expr:
        join = self.plan.joins.get(var)
        if join is not None:
            self.replaced.add(value.args[0])
            for field, there in join:
                if there.offset not in self.written.get(there.whole, ()):
                    self.copy(field, there)
            return self.held[self.plan.places[var].whole]
        place = self.plan.places.get(var)
        kernel = kernel_of(self.mod, value)
        if kernel is None:
            return super().rewrite(var, value)
        if place is not None and var in self.plan.parts:
            self.replaced.add(value.args[0])
            return self.whole(place)
        args = list(value.args[1].fields)
        if place is None:
            variant = self.variant(value.args[0], kernel, self.read_from(args), None)
            if variant is value.args[0]:
                return super().rewrite(var, value)
            new = [self.newest(arg) for arg in args]
            call = relax.call_tir(variant, relax.Tuple(new), value.ty_args[0])
            return self.emit(call, var.name)
        return self.write(value.args[0], kernel, args, place, var.name)

    def result(self, output: Expr) -> Expr:
        for var in relax.analysis.free_vars(output):
            self.env[var] = self.newest(var)
        return super().result(output)

    def whole(self, place: Place) -> Any:
        """The newest variable that holds the whole of ``place``."""
        source = place.whole.source
        return self.newest(source) if source is not None else self.held[place.whole]

    def newest(self, expr: Expr) -> Any:
        """The variable that holds what ``expr`` of the old function is, or lies in."""
        place = self.plan.places.get(expr) if isinstance(expr, relax.Var) else None
        return self.substitute(expr) if place is None else self.whole(place)

    def read_from(self, args: Sequence[Expr]) -> dict[int, Placement]:
        """Where those of ``args`` lie that lie within a whole."""
        found = {}
        for i, arg in enumerate(args):
            place = self.plan.places.get(arg) if isinstance(arg, relax.Var) else None
            if place is not None and place.whole.shape != shape_of(arg):
                found[i] = Placement(place.offset, place.whole.shape)
        return found

    def write(self, name: Any, kernel: Any, args: Sequence[Expr], place: Place, result: str) -> Any:
        """Call ``kernel`` on ``args`` with its result at ``place``."""
        whole = place.whole
        before = self.held.get(whole)
        placements = self.read_from(args)
        placements[len(args)] = Placement(place.offset, whole.shape)
        border = whole if before is None and whole.inner != whole.shape else None
        variant = self.variant(name, kernel, placements, border)
        given = [self.newest(arg) for arg in args]
        kind = relax.TensorType(whole.shape, whole.dtype)
        if before is None:
            call = relax.call_tir(variant, relax.Tuple(given), kind)
        else:
            given.append(before)
            call = relax.op.call_tir_inplace(variant, relax.Tuple(given), [len(args)], kind)
        self.written.setdefault(whole, set()).add(place.offset)
        self.held[whole] = self.emit(call, result)
        return self.held[whole]

    def copy(self, field: Expr, place: Place) -> None:
        """Write ``field`` to ``place``."""
        key = (shape_of(field), dtype_of(field))
        if key not in self.copies:
            placeholder = tvm.te.placeholder(*key, name="data")
            func = tvm.te.create_prim_func([placeholder, copy(placeholder)])
            sch = tvm.s_tir.Schedule(func.with_attr("tirx.noalias", True))
            apply_schedule(sch, self.target)
            func = sch.mod["main"].with_attr("tirx.is_scheduled", True)
            name = self.builder.add_func(func.without_attr("global_symbol"), "copy")
            self.copies[key] = name, func
            self.replaced.add(name)
        name, func = self.copies[key]
        self.write(name, func, [field], place, "copied")

    def variant(
        self, name: Any, kernel: Any, placements: dict[int, Placement], border: Whole | None
    ) -> Any:
        """The kernel ``name`` with some of its buffers placed inside larger ones."""
        shapes = [tuple(int(dim) for dim in param.shape) for param in kernel.params]
        placements = {i: each for i, each in placements.items() if each.shape != shapes[i]}
        if not placements:
            return name
        key = (name, border, tuple(placements.items()))
        self.replaced.add(name)
        if key not in self.variants:
            func = place_buffers(kernel, placements)
            if border is not None:
                around = Placement(border.begin, border.shape)
                func = fill_border(func, border.inner, around, border.fill)
            func = func.without_attr("global_symbol")  # The original has it.
            self.variants[key] = self.builder.add_func(func, f"{name.name_hint}_placed")
        return self.variants[key]
