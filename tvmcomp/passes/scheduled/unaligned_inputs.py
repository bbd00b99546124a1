"""Let the kernels that read a network's inputs read them wherever a caller has them.

TVM takes every tensor to lie at a multiple of 64 bytes. What the network computes does, but numpy
puts arrays at multiples of 16, and without this pass a session copies them first. On the CPUs of
today an unaligned load of aligned data costs nothing.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.loops import LOOP_BODY, loop_bodies
from tvmcomp.passes.bodies import as_main, body_of
from tvmcomp.passes.rewriter import CALLS, main_bindings, op_name
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer, Module, PrimExpr, PrimFunc

relax, tirx = tvm.relax, tvm.tirx


def unaligned_inputs(mod: Module, inputs: int) -> tuple[Any, bool]:
    """Take from kernels the assumption that the network's inputs, and what loops' bodies are given,
    are aligned.

    Args:
        mod: scheduled kernels under ``main``, which takes the inputs first.
        inputs: how many there are.

    Returns:
        The module, and whether it now takes inputs at any address that suits their elements: not
        where ``main`` has control flow.
    """
    for body in loop_bodies(mod):
        view = as_main(mod, body)
        given = len(view["main"].params) - int(view["main"].attrs[LOOP_BODY])
        mod = body_of(_in_main(view, given)[0], body)
    return _in_main(mod, inputs)


def _in_main(mod: Module, inputs: int) -> tuple[Any, bool]:
    bindings = main_bindings(mod)
    if bindings is None:
        return mod, False
    anywhere = list(mod["main"].params[:inputs])
    read: dict[Any, set[int]] = {}
    for binding in bindings:
        name, value = op_name(binding.value), binding.value
        if name not in CALLS:
            if any(_is_one_of(var, anywhere) for var in relax.analysis.free_vars(value)):
                anywhere.append(binding.var)  # another name of it, or a tuple with it
            continue
        kernel, arguments = value.args[0], value.args[1]
        found = {i for i, arg in enumerate(arguments) if _is_one_of(arg, anywhere)}
        if found:
            read.setdefault(kernel, set()).update(found)
            if relax.analysis.has_reshape_pattern(mod[kernel]):
                anywhere.append(binding.var)  # TVM makes it a view of the input
    changed = tvm.IRModule(mod.functions, attrs=mod.attrs, global_infos=mod.global_infos)
    for kernel, indices in read.items():
        changed.update_func(kernel, _reading_anywhere(mod[kernel], indices))
    return changed, True


def _is_one_of(expr: PrimExpr, variables: list[Any]) -> bool:
    return any(expr.same_as(variable) for variable in variables)


def _reading_anywhere(func: PrimFunc, indices: set[int]) -> Any:
    """``func`` with no more than an element's alignment of the parameters ``indices``."""
    new = {func.params[index]: _element_aligned(func.params[index]) for index in indices}

    def collect(match: Any) -> None:
        if match.source.source in new:  # a tensor intrinsic's view of it
            new[match.buffer] = _element_aligned(match.buffer)

    tvm_ffi.structural_walk(func.body, (tvm.s_tir.MatchBufferRegion, collect), order="pre")
    body = tvm_ffi.structural_map(func.body, (tvm.ir.expr.Var, lambda var: new.get(var, var)))
    params = [new.get(param, param) for param in func.params]
    return tirx.PrimFunc(params, body, func.ret_type, attrs=func.attrs)


def _element_aligned(buffer: Buffer) -> Any:
    kind = buffer.ty
    return tirx.decl_buffer(
        kind.shape,
        kind.dtype,
        buffer.name,
        strides=kind.strides,
        elem_offset=kind.elem_offset,
        scope=buffer.scope(),
        data_alignment=max(1, tvm_ffi.dtype(str(kind.dtype)).bits // 8),
        offset_factor=kind.offset_factor,
    )
