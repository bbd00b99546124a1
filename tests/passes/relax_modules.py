"""Small Relax modules for tests: written with a builder, run with and without our passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tvmcomp import targets
from tvmcomp.passes.rewriter import const, main_bindings, op_name
from tvmcomp.tvm_import import cheap_stack_inspection, tvm

relax = tvm.relax


def module(build: Callable[..., Any], **inputs: tuple[int, ...] | relax.TensorType) -> Any:
    """An IRModule whose ``main`` takes ``inputs`` and computes what ``build`` emits.

    Args:
        build: given ``emit(expression, name)`` and the inputs' variables, gives the output: an
            expression, or a list of them for a tuple.
        inputs: a shape (float32), or a tensor type, by the input's name.
    """
    builder = relax.BlockBuilder()
    params = [
        relax.Var(name, kind if isinstance(kind, relax.TensorType) else tensor(kind, "float32"))
        for name, kind in inputs.items()
    ]
    with builder.function("main", params):
        with builder.dataflow():
            result = build(lambda expr, name: builder.emit(expr, name), *params)
            output = builder.emit_output(
                relax.Tuple(result) if isinstance(result, list) else result
            )
        builder.emit_func_output(output)
    return relax.transform.CanonicalizeBindings()(builder.get())


def script(function: Callable[..., Any]) -> Any:
    """Decorator: the IRModule whose ``main`` is written in TVMScript."""
    from tvm.script import relax as R

    with cheap_stack_inspection():
        return tvm.IRModule({"main": R.function(function).with_attr("global_symbol", "main")})


#: By this TVMScript's parser knows the decorators of a function's source.
script.dispatch_token = "relax"  # type: ignore[attr-defined]


def assert_same_module(actual: Any, expected: Any) -> None:
    """Raise unless the two are equal up to names; constants are compared by value."""
    tvm.ir.assert_structural_equal(actual, expected)


def tensor(shape: Sequence[int], dtype: str) -> Any:
    """The Relax type of a tensor."""
    return relax.TensorType(tuple(shape), dtype)


def run_plain(mod: Any, *inputs: np.ndarray) -> list[np.ndarray]:
    """The outputs of ``mod`` through TVM's own legalization and no pass of ours."""
    executable = tvm.compile(mod, tvm.target.Target(targets.detect().tvm_target_dict()))
    outputs = relax.VirtualMachine(executable, tvm.cpu())["main"](
        *(tvm.runtime.tensor(np.ascontiguousarray(x)) for x in inputs)
    )
    return [out.numpy() for out in ([outputs] if hasattr(outputs, "numpy") else outputs)]


def operators(mod: Any) -> list[str]:
    """The operators of ``main`` in order, ``call_tir`` with the PrimFunc's name."""
    names = []
    for binding in main_bindings(mod) or []:
        name = op_name(binding.value)
        if name == "call_tir":
            name = f"call_tir {binding.value.args[0].name_hint}"
        if name is not None:
            names.append(name)
    return names


def value_of(mod: Any, name: str) -> Any:
    """The expression that ``main`` binds to the variable ``name``."""
    return next(b.value for b in main_bindings(mod) or [] if b.var.name == name)


def uniform(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """float32 values in [-1, 1)."""
    return rng.uniform(-1, 1, shape).astype(np.float32)


def quantized(expr: Any, scale: float, zero_point: int, dtype: str = "uint8") -> Any:
    """``relax.quantize`` of a whole tensor."""
    return relax.op.quantize(expr, _scale(scale), _zero(zero_point), -1, dtype)


def dequantized(expr: Any, scale: float, zero_point: int) -> Any:
    """``relax.dequantize`` of a whole tensor."""
    return relax.op.dequantize(expr, _scale(scale), _zero(zero_point), -1)


def weight(values: np.ndarray, scale: np.ndarray, axis: int) -> Any:
    """A constant weight in integers: ``dequantize`` with one scale a channel of ``axis``."""
    zero = np.zeros(scale.shape, np.int32)
    return relax.op.dequantize(const(values), const(scale), const(zero), axis)


def _scale(value: float) -> Any:
    return const(np.asarray(value, np.float32))


def _zero(value: int) -> Any:
    return const(np.asarray(value, np.int32))
