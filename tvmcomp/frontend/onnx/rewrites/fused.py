"""What ONNX Runtime's optimizer fuses, and operators on optional values: apart again.

An optional value is known to be there or not when the network is built.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.rewrites.rewriting import MICROSOFT, Rewriting, Rule

_CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
#: Activation -> the attributes that its parameters are, in order.
_ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "HardSwish": (),
    "LeakyRelu": ("alpha",),
    "Relu": (),
    "Selu": ("alpha", "gamma"),
    "Sigmoid": (),
    "Softplus": (),
    "Softsign": (),
    "Tanh": (),
    "ThresholdedRelu": ("alpha",),
}


def _conv(r: Rewriting) -> None:
    """FusedConv: what is added comes before the activation."""
    result = r.main("Conv", r.input(0), r.input(1), r.input(2), **r.pick(*_CONV))
    if r.input(3):
        result = r.add("Add", result, r.input(3))
    parameters = list(r.attributes.get("activation_params", ()))
    r.give(_activated(r, result, r.attributes.get("activation", ""), parameters))


def _gemm(r: Rewriting) -> None:
    inputs = (r.input(0), r.input(1), r.input(2))
    result = r.main("Gemm", *inputs, **r.pick("alpha", "beta", "transA", "transB"))
    activation = r.attributes.get("activation", "")
    names = _ACTIVATIONS.get(activation, ())
    found = [r.attributes.get(f"activation_{name}") for name in names]
    parameters = [value for value in found if value is not None]
    r.give(_activated(r, result, activation, parameters))


def _activated(r: Rewriting, data: str, activation: str, parameters: list[float]) -> str:
    if not activation:
        return data
    if activation == "Clip":
        low, high = ([*parameters, None, None])[:2]
        if r.opset >= 11:
            bounds = ["" if v is None else r.constant(np.float32(v)) for v in (low, high)]
            return r.add("Clip", data, *bounds)
        limits: dict[str, Any] = {
            name: value for name, value in (("min", low), ("max", high)) if value is not None
        }
        return r.add("Clip", data, **limits)
    if activation not in _ACTIVATIONS:
        raise ValueError(f"its activation {activation!r} is not supported")
    names = _ACTIVATIONS[activation]
    attributes: dict[str, Any] = {**dict(zip(names, parameters, strict=False))}
    return r.add(activation, data, **attributes)


def _quick_gelu(r: Rewriting) -> None:
    alpha = r.constant(np.float32(r.attributes.get("alpha", 1.702)))
    gate = r.add("Sigmoid", r.main("Mul", r.input(0), alpha))
    r.give(r.add("Mul", r.input(0), gate))


def _optional(r: Rewriting) -> None:
    """Optional of a value is that value; one of nothing is of no use to a network."""
    if not r.input(0):
        raise ValueError("an optional value that is not there can't be compiled")
    r.give(r.input(0))


def _has_element(r: Rewriting) -> None:
    r.give(r.constant(np.array(bool(r.input(0)))))


#: Domain and operator -> rule.
RULES: dict[tuple[str, str], Rule] = {
    ("", "Optional"): _optional,
    ("", "OptionalGetElement"): _optional,
    ("", "OptionalHasElement"): _has_element,
    (MICROSOFT, "FusedConv"): _conv,
    (MICROSOFT, "FusedGemm"): _gemm,
    (MICROSOFT, "QuickGelu"): _quick_gelu,
}
