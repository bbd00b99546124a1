"""Lift constants out of ``main`` into parameters after the inputs: the artifact stores them apart.

A library without weights in it links in a moment, and the constants can be mapped into memory as
they are. Scalars stay, as immediates of the code. The constants of a loop's body become operands of
the loop, and so parameters of ``main`` too.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tvmcomp.loops import LOOP_BODY, is_loop, loop_bodies, loop_form
from tvmcomp.passes.bodies import as_main, body_of, in_bodies
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    Constant,
    const,
    const_value,
    main_bindings,
)
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module, Var

relax = tvm.relax


def lift_constants(mod: Module) -> tuple[Any, list[np.ndarray]]:
    """Turn each distinct constant of ``main``, and of the loops' bodies, into a parameter.

    Returns:
        The module, whose ``main`` takes the inputs and then the constants, and the constants.
    """
    if main_bindings(mod) is None:
        return mod, []
    for body in loop_bodies(mod):
        lifted, constants = _lifted(as_main(mod, body))
        lifted["main"] = lifted["main"].with_attr(LOOP_BODY, len(constants))
        mod = body_of(lifted, body)
        mod = in_bodies(partial(_with_operands, body=body, constants=constants))(mod)
    return _lifted(mod)


def _with_operands(mod: Module, body: str, constants: list[np.ndarray]) -> Any:
    return _GiveOperands(mod, body, constants).run()


class _GiveOperands(BindingRewriter):
    """Gives the loops of one body more operands: constants."""

    def __init__(self, mod: Module, body: str, constants: list[np.ndarray]) -> None:
        super().__init__(mod)
        self.body, self.constants = body, constants

    def rewrite(self, var: Var, value: Expr) -> Expr:
        if is_loop(value) and loop_form(value).body == self.body:
            args = [*value.args, *map(const, self.constants)]
            value = relax.Call(value.op, args, value.attrs, value.ty_args)
        return super().rewrite(var, value)


def _lifted(mod: Module) -> tuple[Any, list[np.ndarray]]:
    lifter = _LiftConstants(mod)
    lifted = lifter.run()
    main = lifted["main"]
    # The parameters were only discovered while rewriting; add them to the signature now.
    params = [*main.params, *lifter.params]
    func = relax.Function(params, main.body, main.ret_ty, main.is_pure, main.attrs)
    lifted.update_func(lifted.get_global_var("main"), func)
    return lifted, lifter.constants


class _LiftConstants(BindingRewriter):
    def __init__(self, mod: Module) -> None:
        super().__init__(mod)
        self.params: list[Any] = []
        self.constants: list[np.ndarray] = []
        self.known: dict[tuple[Any, ...], Any] = {}

    def substitute(self, value: Expr) -> Expr:
        if isinstance(value, tvm.ir.Call):
            value = relax.Call(
                value.op, [self.lift(a) for a in value.args], value.attrs, value.ty_args
            )
        elif isinstance(value, relax.Tuple):
            value = self.lift(value)
        return super().substitute(value)

    def lift(self, expr: Expr) -> Expr:
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self.lift(field) for field in expr.fields])
        if not isinstance(expr, Constant):
            return expr
        value = const_value(expr)
        if value is None or value.ndim == 0:
            return expr
        key = (str(value.dtype), value.shape, value.tobytes())
        if key not in self.known:
            self.known[key] = relax.Var(f"constant_{len(self.params)}", expr.ty)
            self.params.append(self.known[key])
            self.constants.append(value)
        return self.known[key]
