"""Write a kernel's result with the border that its readers need: padding without a copied tensor.

:mod:`tvmcomp.passes.lowering.lower_anchors` leaves a kernel ``pad`` before each anchor that reads
beyond its input. Where another kernel of ours produced that input, this pass (the last one, over
scheduled kernels) makes the producer write into the padded tensor, whose border it fills, and every
reader read from there:

    x = conv_0(...)                      x = conv_0'(...)     a border around it
    y = conv_1(pad(x), ...)      ->      y = conv_1(x, ...)
    z = add(x, y)                        z = add'(x, y)       reads inside the border

A part of a tensor (:mod:`tvmcomp.passes.lowering.keep_moves`) gets its border from the tensor's
own, where it reaches from end to end: padded convolutions read a split's parts in place.

No schedule knows of it: a kernel's buffer is replaced by a larger one, its indices shifted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tvmcomp.passes.bodies import called_kernels
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    consumers,
    dtype_of,
    main_bindings,
    op_name,
    shape_of,
)
from tvmcomp.passes.scheduled.place_buffers import (
    BORDER,
    BORDER_VALUE,
    Placement,
    addressed,
    fill_border,
    place_buffers,
)
from tvmcomp.schedules.conv.padding import FREE_BEHIND, PAD_VALUE, PADDING
from tvmcomp.schedules.rows.moves import JOIN, PART
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, PrimExpr, Var

relax = tvm.relax


@dataclass(frozen=True)
class _Halo:
    """A border around a tensor: elements before and after each dimension, and their value.

    ``free_behind``: what lies behind the last dimension may hold anything.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    value: int
    free_behind: bool = False

    def around(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """``shape`` with the border."""
        return tuple(b + n + a for b, n, a in zip(self.before, shape, self.after, strict=True))

    def joined(self, other: _Halo) -> _Halo:
        """The border that holds both."""
        return _Halo(
            tuple(map(max, self.before, other.before)),
            tuple(map(max, self.after, other.after)),
            self.value,
            all(each.free_behind or not each.after[-1] for each in (self, other)),
        )


def write_halos(mod: Module) -> Module:
    """Remove the padding kernels of ``mod`` whose input a kernel of ours produces."""
    pass_ = _WriteHalos(mod)
    if not pass_.halos:
        return mod
    new = pass_.run()
    replaced = {name.name_hint for name in pass_.replaced} - called_kernels(new)
    return tvm.IRModule(
        {name: func for name, func in new.functions.items() if name.name_hint not in replaced}
    )


class _WriteHalos(BindingRewriter):
    def __init__(self, mod: Module) -> None:
        super().__init__(mod)
        self.halos = _plan(mod)
        #: Old variable -> where its elements lie in the tensor that replaces it.
        self.placements: dict[Any, Placement] = {}
        self.variants: dict[Any, Any] = {}
        #: Kernels that something else is called in place of.
        self.replaced: set[Any] = set()

    def rewrite(self, var: Var, value: PrimExpr) -> Expr:
        kernel = _kernel(self.mod, value)
        if kernel is None:
            return super().rewrite(var, value)
        args = list(value.args[1].fields)
        padding = _padding(kernel)
        if padding is not None and args[0] in self.halos:
            whole = self.placements[args[0]]
            offset = tuple(o - b for o, b in zip(whole.offset, padding.before, strict=True))
            self.placements[var] = Placement(offset, whole.shape)
            self.replaced.add(value.args[0])
            return self.env[args[0]]
        placements = {
            i: self.placements[arg]
            for i, arg in enumerate(args)
            if arg in self.placements and self.placements[arg].shape != shape_of(arg)
        }
        halo = self.halos.get(var)
        if halo is not None:
            whole = Placement(halo.before, halo.around(shape_of(var)))
            self.placements[var] = placements[len(args)] = whole
        if not placements:
            return super().rewrite(var, value)
        shape = self.placements[var].shape if halo is not None else shape_of(var)
        variant = self.variant(value.args[0], kernel, placements, halo)
        new_args = relax.Tuple([self.substitute(arg) for arg in args])
        out = relax.TensorType(shape, dtype_of(var))
        return self.emit(relax.call_tir(variant, new_args, out), var.name)

    def variant(
        self, name: Any, kernel: Any, placements: dict[int, Placement], halo: _Halo | None
    ) -> Any:
        """The kernel ``name`` with some of its buffers placed inside larger ones."""
        key = (name, halo, tuple(placements.items()))
        self.replaced.add(name)
        if key not in self.variants:
            func = place_buffers(kernel, placements)
            begin = kernel.attrs.get(PART) if kernel.attrs else None
            if begin is not None and 0 in placements:
                within = zip(begin, placements[0].offset, strict=True)
                func = func.with_attr(PART, [int(first) + offset for first, offset in within])
            if halo is not None:
                inner = tuple(int(dim) for dim in kernel.params[-1].shape)
                placed = placements[len(func.params) - 1]
                func = fill_border(func, inner, placed, halo.value)
                func = func.with_attr(BORDER, [*placed.offset, *inner])
                func = func.with_attr(BORDER_VALUE, [halo.value])
                func = func.with_attr(FREE_BEHIND, halo.free_behind)
            func = func.without_attr("global_symbol")  # The original has it.
            self.variants[key] = self.builder.add_func(func, f"{name.name_hint}_halo")
        return self.variants[key]


def _plan(mod: Module) -> dict[Any, _Halo]:
    """The border of each tensor that a kernel of ours can write with one."""
    users = consumers(mod)
    producers = {binding.var: binding.value for binding in main_bindings(mod) or []}
    halos: dict[Any, _Halo] = {}
    values: dict[Any, set[int]] = {}
    for value in producers.values():
        kernel = _kernel(mod, value)
        padding = _padding(kernel) if kernel is not None else None
        if padding is None:
            continue
        data = value.args[1].fields[0]
        while data is not None and _takes_border(mod, data, producers, users):
            halos[data] = halos.get(data, padding).joined(padding)
            values.setdefault(data, set()).add(padding.value)
            data, padding = _part_of(mod, data, producers, padding)
    halos = {data: halo for data, halo in halos.items() if len(values[data]) == 1}
    for value in producers.values():
        _keep_addressed(mod, value, producers, halos)
    return halos


def _takes_border(
    mod: Module, data: Expr, producers: dict[Any, Any], users: Mapping[Any, Sequence[Any]]
) -> bool:
    """Whether a kernel of ours can write ``data`` with a border, and all who read it read there."""
    producer = _kernel(mod, producers[data]) if data in producers else None
    if producer is None or _padding(producer) is not None or not _one_result(producers[data]):
        return False
    if not all(user is not None and _kernel(mod, user.value) for user in users[data]):
        return False  # It is returned, or read by what is no kernel: its layout is fixed.
    return not any(_is_join(mod, user.value) for user in users[data])  # It is written there.


def _part_of(
    mod: Module, data: Expr, producers: dict[Any, Any], halo: _Halo
) -> tuple[Expr | None, _Halo]:
    """What ``data`` is a part of that reaches from end to end wherever ``halo`` adds something:
    with the border around it, too, the part lies there in place. None for anything else.

    Where the border may hold anything it is what follows the part, and of the source's border the
    rest.
    """
    kernel = _kernel(mod, producers[data])
    if kernel is None or not kernel.attrs or PART not in kernel.attrs.keys():  # noqa: SIM118
        return None, halo
    source = producers[data].args[1].fields[0]
    shape, whole = shape_of(data), shape_of(source)
    if halo.free_behind and not halo.before[-1]:
        end = int(kernel.attrs[PART][-1]) + shape[-1]
        behind = max(0, end + halo.after[-1] - whole[-1])
        halo = replace(halo, after=(*halo.after[:-1], behind))
        shape = (*shape[:-1], whole[-1])
    sizes = zip(halo.before, halo.after, shape, whole, strict=True)
    return (source if all(part == all_ for b, a, part, all_ in sizes if b or a) else None), halo


def _keep_addressed(
    mod: Module, value: PrimExpr, producers: dict[Any, Any], halos: dict[Any, _Halo]
) -> None:
    """Drop the halos that don't suit a kernel which takes tensors by address: such a tensor must
    have just the border that the kernel was made for.
    """
    kernel = _kernel(mod, value)
    for index in addressed(kernel) if kernel is not None else ():
        arg = value.args[1].fields[index] if index < len(value.args[1].fields) else None
        halos.pop(arg, None)
        source = _kernel(mod, producers[arg]) if arg in producers else None
        padding = _padding(source) if source is not None else None
        if padding is not None:
            data = producers[arg].args[1].fields[0]
            if halos.get(data, padding) != padding:
                del halos[data]


def _kernel(mod: Module, value: PrimExpr) -> Module | None:
    """The scheduled kernel that ``value`` calls, or None for anything else."""
    if op_name(value) != "call_tir":
        return None
    func = mod[value.args[0]]
    return func if isinstance(func.body, tvm.s_tir.SBlockRealize) else None


def _is_join(mod: Module, value: PrimExpr) -> bool:
    kernel = _kernel(mod, value)
    return kernel is not None and bool(kernel.attrs) and JOIN in kernel.attrs.keys()  # noqa: SIM118


def _one_result(call: Call) -> bool:
    return isinstance(call.ty_args[0], relax.TensorType)


def _padding(kernel: Any) -> _Halo | None:
    """The border that ``kernel`` adds, or None where it is no padding kernel."""
    widths = kernel.attrs.get(PADDING) if kernel.attrs else None
    if widths is None:
        return None
    widths = tuple(int(width) for width in widths)
    free_behind = bool(kernel.attrs.get(FREE_BEHIND, False))
    return _Halo(widths[::2], widths[1::2], int(kernel.attrs[PAD_VALUE]), free_behind)
