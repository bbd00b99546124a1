"""Activations in bfloat16: what one kernel writes for another takes two bytes an element.

Anchors take bfloat16 data (:func:`rounded`, emitted by
:mod:`tvmcomp.passes.lowering.lower_anchors`); everything else computes in float32.
:func:`store_bfloat16` runs once it is known which operators become one kernel, and changes only
what lies between kernels:

    x = kernel_0(...)             x = round(kernel_0(...))               uint16: bfloat16's bits
    y = conv(round(x), ...)  ->   y = conv(x, ...)
    z = kernel_1(y, x)            z = kernel_1(widen(y), widen(x))

Rounding and widening are part of their kernel, in registers. The network's inputs and outputs stay
float32, and so do the results of reductions: means and variances need the precision, and are small.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.passes.elementwise import ELEMENT_WISE_KERNEL, is_float_tensor
from tvmcomp.passes.lowering.retype_moves import moved_in_bfloat16
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    consumers,
    dtype_of,
    main_bindings,
    op_name,
    shape_of,
    substitute,
)
from tvmcomp.schedules import find_anchor
from tvmcomp.schedules.bfloat16 import (
    BITS,
    READS_FLOAT32,
    WIDENING,
    import_functions,
    round_to_bfloat16,
    widen,
)
from tvmcomp.schedules.tir.vector_math import ROUGH_ERF
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Binding, Builder, Call, Expr, Module, PrimFunc, Var

relax = tvm.relax
te = tvm.te

#: PrimFunc attribute of the rounding kernel.
_ROUNDING = "tvmcomp.round_to_bfloat16"
_REDUCE = tvm.tirx.IterVar.CommReduce
#: A pooled image is data; what sums up this many elements or more is a statistic.
_STATISTIC = 16


def rounded(builder: Builder, data: Expr, name: str) -> Expr:
    """A call that rounds ``data``, float32, to the bits of bfloat16."""
    return builder.call_te(
        _round,
        data,
        primfunc_name_hint=name,
        primfunc_attrs={ELEMENT_WISE_KERNEL: True, _ROUNDING: True},
    )


def store_bfloat16(mod: Module) -> Module:
    """Make the float32 tensors that pass between the kernels of ``mod`` bfloat16.

    Args:
        mod: Relax after ``FuseOps``: ``main`` calls PrimFuncs and groups of them.
    """
    return _StoreBfloat16(mod).run()


def import_into_kernels(mod: Module, target: TargetDescription) -> Module:
    """Give each kernel of ``mod`` that touches bfloat16 the functions it calls on ``target``.

    One that gives bfloat16 computes the error function to so many digits only.
    """
    for var, func in mod.functions.items():
        if isinstance(func, tvm.tirx.PrimFunc) and _touches_bfloat16(func):
            mod.update_func(var, import_functions(_roughly(func), target))
    return mod


def _roughly(func: PrimFunc) -> Any:
    def replace(call: Call) -> Any:
        if str(getattr(call.op, "name", "")) != "tirx.erf" or str(call.ty.dtype) != "float32":
            return call
        return tvm.tirx.call_intrin("float32", ROUGH_ERF, *call.args)

    if str(func.params[-1].dtype) != BITS:
        return func
    return func.with_body(tvm_ffi.structural_map(func.body, ((tvm.ir.Call, replace),)))


def _touches_bfloat16(func: PrimFunc) -> bool:
    return _is_made_of_blocks(func) and any(
        str(getattr(p, "dtype", "")) == BITS for p in func.params
    )


def _is_made_of_blocks(func: PrimFunc) -> bool:
    body = func.body
    return isinstance(body, tvm.s_tir.SBlockRealize) and str(body.block.name_hint) == "root"


def _round(x: Expr) -> Expr:
    return te.compute(x.shape, lambda *i: round_to_bfloat16(x[i]), name="round_to_bfloat16")


def _widen(x: Expr) -> Expr:
    return te.compute(
        x.shape,
        lambda *i: widen(x[i], BITS, "float32"),
        name="widen",
        attrs={WIDENING: True},
    )


@dataclass(frozen=True)
class _Group:
    """What one call in ``main`` computes, as ``call_tir``s of single operators.

    Attributes:
        params: variables of the group.
        args: what ``main`` passes for them.
        bindings: the calls.
        output: variable that holds the result.
    """

    params: list[Any]
    args: list[Expr]
    bindings: list[Binding]
    output: Expr


class _StoreBfloat16(BindingRewriter):
    def __init__(self, mod: Module) -> None:
        super().__init__(mod)
        self.stored = _plan(mod)

    def rewrite(self, var: Var, value: Expr) -> Expr:
        group = _group(self.mod, var, value)
        if group is None or self.stored.isdisjoint([var, *group.args]):
            return super().rewrite(var, value)
        narrow = self.narrow(group, var in self.stored)
        args = [self.substitute(arg) for arg in narrow.args]
        if not narrow.bindings:  # Nothing is left of a kernel that only rounds.
            return args[narrow.params.index(narrow.output)]
        if len(narrow.bindings) == 1:
            env = dict(zip(narrow.params, args, strict=True))
            return self.emit(substitute(narrow.bindings[0].value, env), var.name)
        function = self.builder.add_func(_function(narrow), _name(value))
        return self.emit(relax.Call(function, args), var.name)

    def narrow(self, group: _Group, result_too: bool) -> _Group:
        """``group`` with stored parameters, and the result where that is stored, in bfloat16."""
        env: dict[Var, Expr] = {}
        params, bindings = [], []
        narrow = {}
        for param, arg in zip(group.params, group.args, strict=True):
            params.append(param)
            if arg in self.stored:
                params[-1] = narrow[param] = relax.Var(param.name, _bits(param))

        def bind(call: Call, name: str, result: Expr) -> Expr:
            bindings.append(relax.VarBinding(relax.Var(name, result), call))
            return bindings[-1].var

        def wide(var: Var) -> Any:
            if var in narrow and var not in env:
                call = self.elementwise(_widen, narrow[var], var.ty)
                env[var] = bind(call, f"{var.name}_wide", var.ty)
            return env.get(var, var)

        for binding in group.bindings:
            var, call = binding.var, binding.value
            args = call.args[1].fields
            if _rounds(self.mod, call) and args[0] in narrow:
                env[var] = narrow[args[0]]
                continue
            moved = self.moved(call, var, narrow)
            if moved is not None:
                narrow[var] = bind(moved, var.name, _bits(var))
                continue
            fields = relax.Tuple([wide(arg) for arg in args])
            call = relax.Call(call.op, [call.args[0], fields], call.attrs, call.ty_args)
            env[var] = bind(call, var.name, var.ty)
        if not result_too:
            output = wide(group.output)
        elif group.output in narrow:
            output = narrow[group.output]
        else:
            result = _bits(group.output)
            call = self.elementwise(_round, env[group.output], result)
            output = bind(call, "rounded", result)
        return _Group(params, group.args, bindings, output)

    def moved(self, call: Call, var: Var, narrow: dict[Var, Expr]) -> Expr | None:
        """``call``, whose result is ``var``, in bfloat16 where it only moves what is so."""
        args = call.args[1].fields
        floats = [arg for arg in args if is_float_tensor(arg)]
        if not is_float_tensor(var) or not floats or any(arg not in narrow for arg in floats):
            return None
        func = moved_in_bfloat16(self.mod[call.args[0]])
        if func is None:
            return None
        kernel = self.builder.add_func(func, call.args[0].name_hint)
        fields = relax.Tuple([narrow.get(arg, arg) for arg in args])
        return relax.call_tir(kernel, fields, _bits(var))

    def elementwise(self, compute: Any, x: Expr, result: Expr) -> Expr:
        """A call of the kernel that ``compute`` defines, with a result of type ``result``."""
        placeholder = te.placeholder(list(x.ty.shape), dtype_of(x), "x")
        func = te.create_prim_func([placeholder, compute(placeholder)])
        kernel = self.builder.add_func(func, compute.__name__.strip("_"))
        return relax.call_tir(kernel, relax.Tuple([x]), result)


def _plan(mod: Module) -> set[Module]:
    """The variables of ``main`` to keep in bfloat16.

    They go from one kernel to others, and come from an anchor, through whatever, or go straight to
    one: positions, masks and the like keep their precision and their range.
    """
    users = consumers(mod)
    stored: set[Var] = set()
    from_anchor: set[Var] = set()
    for binding in main_bindings(mod) or []:
        var = binding.var
        group = _group(mod, var, binding.value)
        if group is None:
            continue
        if _has_anchor(mod, group) or not from_anchor.isdisjoint(group.args):
            from_anchor.add(var)
        groups = [user and _group(mod, user.var, user.value) for user in users[var]]
        readers = [reader for reader in groups if reader is not None]
        if not is_float_tensor(var) or len(readers) < len(groups) or _is_statistic(mod, group):
            continue  # Part of a tuple, an output of the network, or what must be exact.
        if any(_reads_float32(mod, reader, var) for reader in readers):
            continue
        if var in from_anchor or any(_rounds_input(mod, reader, var) for reader in readers):
            stored.add(var)
    return stored


def _has_anchor(mod: Module, group: _Group) -> bool:
    """Whether an operator of the group multiplies bfloat16; others may read a ``uint16`` of the
    network's own.
    """
    calls = [binding.value for binding in group.bindings]
    return any(
        find_anchor(tvm.s_tir.Schedule(mod[call.args[0]])) is not None
        for call in calls
        if any(dtype_of(arg) == BITS for arg in call.args[1].fields)
    )


def _rounds_input(mod: Module, group: _Group, arg: Expr) -> bool:
    """Whether the group rounds what ``main`` passes as ``arg``, for an anchor."""
    param = group.params[group.args.index(arg)]
    return any(
        _rounds(mod, binding.value) and binding.value.args[1].fields[0].same_as(param)
        for binding in group.bindings
    )


def _reads_float32(mod: Module, group: _Group, arg: Expr) -> bool:
    """Whether a kernel of the group must be given what ``main`` passes as ``arg`` in float32."""
    param = group.params[group.args.index(arg)]
    return any(
        _has_attribute(mod, binding.value, READS_FLOAT32)
        and any(field.same_as(param) for field in binding.value.args[1].fields)
        for binding in group.bindings
    )


def _group(mod: Module, var: Var, value: Expr) -> _Group | None:
    """What the binding ``var = value`` of ``main`` computes; None where it calls no kernel."""
    if op_name(value) == "call_tir":
        if not _is_made_of_blocks(mod[value.args[0]]):
            return None  # Sort, scans, recurrent layers: loops that take their buffers as they are.
        args = list(dict.fromkeys(value.args[1].fields))
        params = [relax.Var(getattr(arg, "name", "constant"), arg.ty) for arg in args]
        inside = dict(zip(args, params, strict=True))
        fields = relax.Tuple([inside[arg] for arg in value.args[1].fields])
        call = relax.Call(value.op, [value.args[0], fields], value.attrs, value.ty_args)
        output = relax.Var(var.name, var.ty)
        return _Group(params, args, [relax.VarBinding(output, call)], output)
    if not (isinstance(value, tvm.ir.Call) and isinstance(value.op, tvm.ir.GlobalVar)):
        return None
    function = mod[value.op]
    bindings = [binding for block in function.body.blocks for binding in block.bindings]
    if any(op_name(binding.value) != "call_tir" for binding in bindings):
        return None
    return _Group(list(function.params), list(value.args), bindings, function.body.body)


def _function(group: _Group) -> Any:
    """``group`` as a function that ``FuseTIR`` makes one kernel of."""
    body = relax.SeqExpr([relax.DataflowBlock(group.bindings)], group.output)
    function = relax.Function(group.params, body, group.output.ty, True)
    return function.with_attr("Primitive", True)


def _is_statistic(mod: Module, group: _Group) -> bool:
    """Whether the group's last operator sums up many elements in one, and is no anchor."""
    call = group.bindings[-1].value
    sch = tvm.s_tir.Schedule(mod[call.args[0]])
    if find_anchor(sch) is not None:
        return False
    blocks = [sch.get(block) for block in sch.get_child_blocks(sch.get_sblock("root"))]
    if all(var.iter_type != _REDUCE for block in blocks for var in block.iter_vars):
        return False
    elements = max(math.prod(shape_of(arg)) for arg in call.args[1].fields)
    return math.prod(shape_of(group.bindings[-1].var)) * _STATISTIC <= elements


def _rounds(mod: Module, call: Call) -> bool:
    return _has_attribute(mod, call, _ROUNDING)


def _has_attribute(mod: Module, call: Call, name: str) -> bool:
    attrs = mod[call.args[0]].attrs
    return bool(attrs and name in attrs.keys())  # noqa: SIM118  not a dict


def _name(call: Call) -> str:
    return str((call.args[0] if op_name(call) == "call_tir" else call.op).name_hint)


def _bits(tensor: Expr) -> Any:
    """The type of ``tensor`` in bfloat16."""
    return relax.TensorType(shape_of(tensor), BITS)
