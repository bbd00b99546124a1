"""Which Relax operators work element by element, and what the unary ones compute in numpy.

One table serves the layout pass (they take any layout), the quantizer (a chain of them on one
quantized tensor is a lookup table) and the fusion of epilogues.
"""

from __future__ import annotations

from collections.abc import Callable
from math import erf
from typing import Any

import numpy as np

from tvmcomp.passes.rewriter import Constant, dtype_of, op_name, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Binding, Call, Expr, Var

relax = tvm.relax

#: Attribute of a PrimFunc of ours that reads and writes each element at the same place. TVM's own
#: analysis does not see it in a table look-up, and would not fuse it behind an anchor.
ELEMENT_WISE_KERNEL = "tvmcomp.element_wise"
#: Attribute of a PrimFunc of ours whose schedule takes what follows it element by element.
EPILOGUE_KERNEL = "tvmcomp.epilogue"

Array = np.ndarray
_erf = np.frompyfunc(erf, 1, 1)


def _gelu(x: Array) -> Array:
    return 0.5 * x * (1 + _erf(x / np.sqrt(2.0)).astype(x.dtype))


def _gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


#: Unary operators without attributes: name -> numpy.
UNARY: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "erf": lambda x: _erf(x).astype(x.dtype),
    "exp": np.exp,
    "floor": np.floor,
    "log": np.log,
    "negative": np.negative,
    "nn.gelu": _gelu,
    "nn.gelu_tanh": _gelu_tanh,
    "nn.relu": lambda x: np.maximum(x, 0),
    "nn.silu": lambda x: x / (1 + np.exp(-x)),
    "round": np.rint,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "square": np.square,
    "tan": np.tan,
    "tanh": np.tanh,
}

#: Unary operators with attributes or scalar arguments: name -> numpy, given the Relax call.
UNARY_WITH_ATTRIBUTES: dict[str, Callable[[Array, Any], Array]] = {
    "clip": lambda x, call: np.clip(x, _scalar(call.args[1]), _scalar(call.args[2])),
    "nn.leakyrelu": lambda x, call: np.where(x > 0, x, x * float(call.attrs.alpha)),
}

#: Binary operators: name -> numpy.
BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "divide": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "multiply": np.multiply,
    "power": np.power,
    "subtract": np.subtract,
}

#: Everything that computes each output element from the input elements at the same place.
ELEMENT_WISE: frozenset[str] = frozenset(
    [
        *UNARY,
        *UNARY_WITH_ATTRIBUTES,
        *BINARY,
        "astype",
        "equal",
        "greater",
        "greater_equal",
        "isnan",
        "less",
        "less_equal",
        "logical_and",
        "logical_not",
        "logical_or",
        "not_equal",
        "where",
    ]
)

#: Operators that cost a few vector instructions, or some twenty
#: (tvmcomp.schedules.tir.vector_math): as well done in an epilogue as
#: anywhere. A table would round once more and pass over memory.
CHEAP: frozenset[str] = frozenset(
    ["add", "subtract", "multiply", "divide", "clip", "nn.relu", "nn.leakyrelu", "maximum",
     "minimum", "negative", "abs", "erf", "exp", "nn.gelu", "nn.silu", "sigmoid", "tanh"]
)  # fmt: skip


def unary_sources(bindings: list[Binding]) -> dict[Var, Expr]:
    """For each result of a chain of element-wise operators on one tensor, that tensor."""
    source: dict[Var, Expr] = {}
    for binding in bindings:
        name, call = op_name(binding.value), binding.value
        if name in UNARY or name in UNARY_WITH_ATTRIBUTES:
            arg = call.args[0]
            if isinstance(arg, relax.Var) and is_float_tensor(arg):
                source[binding.var] = source.get(arg, arg)
        elif name in BINARY:
            tensors = [arg for arg in call.args if isinstance(arg, relax.Var)]
            scalars = [arg for arg in call.args if _is_scalar(arg)]
            roots = {source.get(arg, arg) for arg in tensors}
            if len(roots) == 1 and len(tensors) + len(scalars) == 2 and tensors:
                root = roots.pop()
                if is_float_tensor(root) and shape_of(root) == shape_of(binding.var):
                    source[binding.var] = root
    return source


def is_float_tensor(expr: Expr) -> bool:
    """Whether ``expr`` is a float32 tensor."""
    return isinstance(expr.ty, relax.TensorType) and dtype_of(expr) == "float32"


def _is_scalar(expr: Expr) -> bool:
    return isinstance(expr, Constant) and int(np.prod(shape_of(expr))) == 1


def clip_bounds(call: Call) -> tuple[float, float] | None:
    """The bounds that ``call`` clips its operand to, or None where it does anything else."""
    if op_name(call) == "nn.relu":
        return 0.0, np.inf
    if op_name(call) == "clip":
        return _scalar(call.args[1]), _scalar(call.args[2])
    return None


def _scalar(expr: Any) -> float:
    """The number in a ``PrimValue`` or a plain immediate."""
    value = getattr(expr, "value", expr)
    return float(getattr(value, "value", value))
