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
from tvmcomp.passes.rewriter import BindingRewriter, shape_of
from tvmcomp.passes.scheduled.place_buffers import Placement, fill_border, place_buffers
from tvmcomp.passes.scheduled.places import Place, Plan, Whole, kernel_of, plan_places
from tvmcomp.schedules.rows.copy_kernel import Piece, copy_kernel
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
        #: Kernels that something else is called in place of.
        self.replaced: set[Any] = set()

    def rewrite(self, var: Var, value: PrimExpr) -> Expr:
        join = self.plan.joins.get(var)
        if join is not None:
            self.replaced.add(value.args[0])
            self.copy([each for each in join if not self.is_written(each[1])])
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

    def is_written(self, place: Place) -> bool:
        """Whether something wrote what lies at ``place`` already."""
        return place.offset in self.written.get(place.whole, ())

    def write(self, name: Any, kernel: Any, args: Sequence[Expr], place: Place, result: str) -> Any:
        """Call ``kernel`` on ``args`` with its result at ``place``."""
        placements = self.read_from(args)
        placements[len(args)] = Placement(place.offset, place.whole.shape)
        variant = self.variant(name, kernel, placements, self.new_border(place.whole))
        return self.into(place.whole, variant, [self.newest(arg) for arg in args], [place], result)

    def new_border(self, whole: Whole) -> Whole | None:
        """``whole`` where its border is still to be written."""
        return whole if whole not in self.held and whole.inner != whole.shape else None

    def into(
        self, whole: Whole, kernel: Any, args: list[Any], places: Sequence[Place], result: str
    ) -> Any:
        """Call ``kernel``, which writes ``places`` of ``whole``, on the new function's ``args``."""
        before, kind = self.held.get(whole), relax.TensorType(whole.shape, whole.dtype)
        if before is None:
            call = relax.call_tir(kernel, relax.Tuple(args), kind)
        else:
            operands = relax.Tuple([*args, before])
            call = relax.op.call_tir_inplace(kernel, operands, [len(args)], kind)
        self.written.setdefault(whole, set()).update(place.offset for place in places)
        self.held[whole] = self.emit(call, result)
        return self.held[whole]

    def copy(self, fields: Sequence[tuple[Expr, Place]]) -> None:
        """Write ``fields`` to their places in a whole: a kernel for all that lie in one tensor."""
        groups: dict[Any, list[tuple[Piece, Place]]] = {}
        for field, place in fields:
            source, shape = self.newest(field), shape_of(field)
            lies = self.plan.places.get(field) if isinstance(field, relax.Var) else None
            begin = lies.offset if lies is not None else (0,) * len(shape)
            piece = Piece(begin, place.offset, shape)
            groups.setdefault((source, shape[:-1]), []).append((piece, place))
        for (source, _), group in groups.items():
            whole, pieces = group[0][1].whole, [piece for piece, _ in group]
            border = self.new_border(whole)
            key = (shape_of(source), whole.shape, whole.dtype, tuple(pieces), border)
            if key not in self.variants:
                func = copy_kernel(*key[:3], pieces, self.target)
                if border is not None:
                    func = fill_border(func, border.inner, _around(border), border.fill)
                self.variants[key] = self.builder.add_func(func, "copy")
            places = [place for _, place in group]
            self.into(whole, self.variants[key], [source], places, "copied")

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
                func = fill_border(func, border.inner, _around(border), border.fill)
            func = func.without_attr("global_symbol")  # The original has it.
            self.variants[key] = self.builder.add_func(func, f"{name.name_hint}_placed")
        return self.variants[key]


def _around(border: Whole) -> Placement:
    return Placement(border.begin, border.shape)
