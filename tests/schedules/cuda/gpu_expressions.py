"""Expressions of a GPU kernel, evaluated for all threads at once.

A value is an array ``[threads or 1, lanes]``: a vector of TIR has several lanes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from gpu_instructions import WARP
from gpu_memory import Memory

from tvmcomp.tvm_import import tvm

tirx = tvm.tirx

_ERF = np.vectorize(math.erf, otypes=[np.float64])
_C_LIKE = {
    "Div": lambda a, b: a / b if _float(a) else _quotient(a, b),
    "Mod": lambda a, b: np.fmod(a, b),
}
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "FloorDiv": np.floor_divide,
    "FloorMod": np.mod,
    "Min": np.minimum,
    "Max": np.maximum,
    "EQ": np.equal,
    "NE": np.not_equal,
    "LT": np.less,
    "LE": np.less_equal,
    "GT": np.greater,
    "GE": np.greater_equal,
    "RShift": np.right_shift,
    "LShift": np.left_shift,
    "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
}
#: By name, without the f that ends those of 32 bits, and the h before those of 16.
_MATH: dict[str, Callable[..., Any]] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "log": np.log,
    "log2": np.log2,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "tanh": np.tanh,
    "erf": _ERF,
    "sin": np.sin,
    "cos": np.cos,
    "pow": np.power,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "round": lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x),
    "rint": np.rint,
    "nearbyint": np.rint,
    "fabs": np.abs,
    "abs": np.abs,
    "fmax": np.fmax,
    "fmin": np.fmin,
    "fma": lambda a, b, c: a * b + c,
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "bitwise_not": np.bitwise_not,
    "shift_left": np.left_shift,
    "shift_right": np.right_shift,
    "isnan": np.isnan,
    "isinf": np.isinf,
    "likely": lambda x: x,
}


def _float(a: np.ndarray) -> bool:
    return a.dtype.kind not in "iub"


def _quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Division of integers towards 0."""
    return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)


def numpy_dtype(dtype: Any) -> np.dtype[Any]:
    """Of an element of ``dtype``."""
    name = str(dtype).split("x")[0]
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def dtype_of(expr: Any) -> str:
    """Of ``expr``."""
    return str(expr.ty.dtype)


class Expressions:
    """Evaluates expressions.

    Attributes:
        values: of the variables.
        memories: of the buffers, by name.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.values: dict[Any, np.ndarray] = {}
        self.memories: dict[str, Memory] = {}

    def evaluate(self, expr: Any, active: np.ndarray) -> np.ndarray:
        """The value of ``expr``; of threads that are not ``active`` it means nothing."""
        kind = type(expr).__name__
        if isinstance(expr, tirx.IntImm | tirx.FloatImm):
            return np.full((1, 1), expr.value, numpy_dtype(dtype_of(expr)))
        if isinstance(expr, tvm.ir.Var):
            return self.values[expr]
        if kind in _BINARY or kind in _C_LIKE:
            a, b = self.evaluate(expr.a, active), self.evaluate(expr.b, active)
            function = _BINARY.get(kind) or _C_LIKE[kind]
            with np.errstate(all="ignore"):
                return np.asarray(function(a, b))
        if kind in ("And", "Or"):
            a = self.evaluate(expr.a, active)
            rest = active & (a.all(1) if kind == "And" else ~a.all(1))
            b = self.evaluate(expr.b, rest)
            return a & b if kind == "And" else a | b
        if kind == "Not":
            return ~self.evaluate(expr.a, active)
        if kind == "Cast":
            return self.cast(self.evaluate(expr.value, active), dtype_of(expr))
        if kind == "Select":
            return self.chosen(expr.condition, expr.true_value, expr.false_value, active)
        if kind == "Ramp":
            base, stride = (self.evaluate(e, active) for e in (expr.base, expr.stride))
            return base + stride * np.arange(int(expr.lanes), dtype=base.dtype)
        if kind == "Broadcast":
            return np.repeat(self.evaluate(expr.value, active), int(expr.lanes), 1)
        if kind == "Shuffle":
            every = np.concatenate(
                np.broadcast_arrays(*(self.whole(self.evaluate(v, active)) for v in expr.vectors)),
                1,
            )
            return every[:, [int(i) for i in expr.indices]]
        if isinstance(expr, tvm.ir.expr.TensorLoad):
            return self.load(expr, active)
        if isinstance(expr, tvm.ir.Call):
            return self.call(expr, active)
        raise NotImplementedError(f"{kind}: {expr}")

    def whole(self, value: np.ndarray) -> np.ndarray:
        """``value`` with a row for each thread."""
        return np.broadcast_to(value, (self.threads, value.shape[1]))

    def cast(self, value: np.ndarray, dtype: str) -> np.ndarray:
        """As C++ converts."""
        with np.errstate(all="ignore"):
            return value.astype(numpy_dtype(dtype))

    def chosen(self, condition: Any, yes: Any, no: Any, active: np.ndarray) -> np.ndarray:
        """One of two values, each computed only where it is chosen."""
        flag = self.evaluate(condition, active)
        some = self.whole(flag)
        first = self.evaluate(yes, active & some.any(1))
        second = self.evaluate(no, active & ~some.all(1))
        return np.where(flag, first, second)

    def shuffled(self, name: str, args: list[Any], active: np.ndarray) -> np.ndarray:
        """What another thread of the warp has in a register; ones in all bits (no number, as a
        float) where that has nothing, or takes no part."""
        _, value, distance, width = args
        dtype = numpy_dtype(dtype_of(value))
        (index,) = value.indices
        assert int(index) == 0, value
        memory, lane = self.memories[str(value.source.name)], np.arange(self.threads)
        by = self.whole(self.evaluate(distance, active))[:, 0].astype(np.int64)
        size = int(width)
        first = lane - lane % size
        source = {
            "cuda.__shfl_sync": first + by % size,
            "cuda.__shfl_up_sync": np.where(lane - by >= first, lane - by, lane),
            "cuda.__shfl_down_sync": np.where(lane + by < first + size, lane + by, lane),
            "cuda.__shfl_xor_sync": np.where((lane ^ by) < first + size, lane ^ by, lane),
        }[name]
        assert memory.written is not None and not memory.shared, "a register"
        given = memory.written[:, : dtype.itemsize].all(1) & active
        own = np.where(given[:, None], memory.data[:, : dtype.itemsize], 0xFF)
        return np.ascontiguousarray(own[source]).astype(np.uint8).view(dtype)

    def load(self, expr: Any, active: np.ndarray) -> np.ndarray:
        """The elements of a buffer."""
        dtype = numpy_dtype(dtype_of(expr))
        at = self.whole(self.offset(expr.source, expr.indices, active))
        memory = self.memories[str(expr.source.name)]
        parts = [
            memory.load(at[:, lane] * dtype.itemsize, dtype.itemsize, active).view(dtype)
            for lane in range(at.shape[1])
        ]
        return np.concatenate(parts, 1)

    def offset(self, buffer: Any, indices: Any, active: np.ndarray) -> np.ndarray:
        """The elements of a load or store; a buffer's own may be vectors."""
        (index,) = indices
        at = self.evaluate(index, active).astype(np.int64)
        lanes = int(tvm.DataType(str(buffer.ty.dtype)).lanes)
        return at if lanes == 1 else at * lanes + np.arange(lanes)

    def call(self, expr: Any, active: np.ndarray) -> np.ndarray:
        """An operator's or an external function's value."""
        name, args = str(expr.op.name).split(".", 1)[1], list(expr.args)
        if name == "cuda.__activemask":
            bits = active.reshape(-1, WARP) << np.arange(WARP, dtype=np.uint64)
            return np.repeat(bits.sum(1, dtype=np.uint64), WARP)[:, None].astype(np.uint32)
        if name.startswith("cuda.__shfl"):
            return self.shuffled(name, args, active)
        if name == "if_then_else":
            return self.chosen(*args, active)
        if name == "reinterpret":
            value = self.whole(self.evaluate(args[0], active))
            return np.ascontiguousarray(value).view(numpy_dtype(dtype_of(expr)))
        if name in ("call_pure_extern", "call_extern"):
            name, args = str(args[0].value), args[1:]
        found = _MATH.get(name) or _MATH.get(name.removesuffix("f"))
        found = found or _MATH.get(name.removeprefix("h"))
        if found is None:
            raise NotImplementedError(f"{name}: {expr}")
        with np.errstate(all="ignore"):
            value = found(*(self.evaluate(arg, active) for arg in args))
        return np.asarray(value).astype(numpy_dtype(dtype_of(expr)))
