"""What was decided for a network of one shape, put to the same network of another one.

Scales, zero points and integers of weights are those of the first: a batch gives the bits that its
samples give alone. Operators and tensors are found by their names, which are the source model's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvmcomp.errors import ModelError
from tvmcomp.passes.rewriter import main_bindings
from tvmcomp.qparams import QParams
from tvmcomp.quantize.annotate import annotate
from tvmcomp.quantize.channel_links import Link
from tvmcomp.quantize.config import QuantConfig
from tvmcomp.quantize.equalize import Scales, scale_channels
from tvmcomp.quantize.plan import plan_operators
from tvmcomp.quantize.rounded_weight import RoundedWeight
from tvmcomp.tvm_types import Module, Var


@dataclass(frozen=True)
class Decisions:
    """How a float network was quantized.

    Attributes:
        config: settings by operator.
        scales: what its channels are divided by, None where they are not.
        keep_float, weight_only, faster: as :func:`tvmcomp.quantize.plan.plan_operators` takes them.
        qparams: the parameters of each tensor that is quantized.
        rounded: the integers of weights, by the operator's name.
    """

    config: QuantConfig
    scales: Scales | None
    keep_float: Sequence[str]
    weight_only: Collection[str]
    faster: Mapping[str, str]
    qparams: Mapping[Var, QParams]
    rounded: Mapping[str, RoundedWeight]

    def put_to(self, mod: Module) -> Any:
        """The float network ``mod`` of another shape with Q/DQ in it.

        Raises:
            ModelError: it computes otherwise than the first.
        """
        if self.scales is not None:
            mod = scale_channels(mod, _in_other(self.scales, _by_name(mod)))
        operators = plan_operators(mod, self.config, self.keep_float, self.weight_only, self.faster)
        variables = _by_name(mod)
        qparams = {_found(variables, var): params for var, params in self.qparams.items()}
        for operator in operators:
            for tensor in operator.reads:
                if tensor not in qparams:
                    raise _other_network(str(tensor.name))
        return annotate(mod, operators, qparams, self.rounded)


def _by_name(mod: Module) -> dict[str, Any]:
    bindings = main_bindings(mod) or []
    return {str(v.name): v for v in (*mod["main"].params, *(each.var for each in bindings))}


def _in_other(scales: Scales, variables: Mapping[str, Any]) -> Scales:
    def found(each: Sequence[Var]) -> list[Var]:
        return [_found(variables, var) for var in each]

    linked = [
        (Link(found(of.tensors), found(of.makers), found(of.shifts), found(of.readers)), by)
        for of, by in scales.linked
    ]
    multiplied = {_found(variables, var): by for var, by in scales.multiplied.items()}
    return Scales(linked, multiplied)


def _found(variables: Mapping[str, Any], var: Var) -> Any:
    name = str(var.name)
    if name not in variables:
        raise _other_network(name)
    return variables[name]


def _other_network(name: str) -> ModelError:
    return ModelError(
        f"computes otherwise in one of the shapes: the tensor {name!r} has no like in another",
        hint="Build an artifact for each shape.",
    )
