"""Whether a batch is its samples, one after the other: each one's results depend on it alone.

The same network is there for a small batch and for one of several times its size. The axis of each
tensor that the two differ in is the batch's, and every operator has to keep its samples apart: what
reduces, normalizes, joins or reorders along that axis mixes them, and so may any operator that is
not known here.

    x [1, 8, 8, 3] and [4, 8, 8, 3] -> conv2d -> mean over [1, 2] -> matmul      4 times
    x [1, 8] and [4, 8] -> softmax over 0                                       None
"""

from __future__ import annotations

import math
from typing import Any

from tvmcomp.passes.elementwise import ELEMENT_WISE
from tvmcomp.passes.operator_kinds import CONVOLUTIONS
from tvmcomp.passes.rewriter import const_value, main_bindings, op_name, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module

relax = tvm.relax

_ELEMENT_WISE = ELEMENT_WISE | {"broadcast_to", "dequantize", "quantize"}
_IMAGES = frozenset(
    [*CONVOLUTIONS, "image.resize2d", "nn.adaptive_avg_pool1d", "nn.adaptive_avg_pool2d",
     "nn.adaptive_max_pool2d", "nn.avg_pool1d", "nn.avg_pool2d", "nn.max_pool1d", "nn.max_pool2d"]
)  # fmt: skip
_RESHAPES = frozenset(["expand_dims", "flatten", "reshape", "squeeze"])
_REDUCTIONS = frozenset(["max", "mean", "min", "prod", "sum", "variance"])
_ALONG_ONE = frozenset(["nn.log_softmax", "nn.softmax"])
_NORMALIZATIONS = frozenset(["nn.layer_norm", "nn.rms_norm"])


class _MixedError(Exception):
    """Samples may meet."""


def times_as_many(one: Module, many: Module) -> int | None:
    """How many times the batch of ``one`` that of ``many`` is; None where samples may meet.

    Args:
        one, many: a network in NHWC, for two batches.
    """
    bindings, others = main_bindings(one), main_bindings(many)
    params = list(zip(one["main"].params, many["main"].params, strict=True))
    if bindings is None or others is None or len(bindings) != len(others) or not params:
        return None
    sizes = {(shape_of(a)[:1], shape_of(b)[:1]) for a, b in params}
    (size, other), *more = sizes
    if more or not size or not other or size[0] == 0 or other[0] % size[0] or other == size:
        return None
    batch = _Batch(other[0] // size[0])
    try:
        for param, longer in params:
            batch.see(param, longer)
        for binding, longer in zip(bindings, others, strict=True):
            batch.bind(binding, longer)
        results = one["main"].body.body
        for result in results.fields if isinstance(results, relax.Tuple) else [results]:
            batch.check_leading(result)
    except _MixedError:
        return None
    return batch.times


class _Batch:
    """The batch's axis in each tensor; it is the outermost factor of that axis."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.axes: dict[Any, int | None] = {}

    def see(self, var: Any, longer: Any) -> None:
        """Note the axis of a variable, of the larger batch's shape ``longer``; of a tuple, its
        tensors'."""
        fields = [var.ty], [longer.ty]
        if isinstance(var.ty, relax.TupleType):
            fields = list(var.ty.fields), list(longer.ty.fields)
        found = {self._axis(a, b) for a, b in zip(*fields, strict=True)}
        if len(found) != 1:
            raise _MixedError
        (self.axes[var],) = found

    def _axis(self, ty: Any, longer: Any) -> int | None:
        sizes = [(int(a), int(b)) for a, b in zip(ty.shape, longer.shape, strict=True)]
        other = [i for i, (a, b) in enumerate(sizes) if a != b]
        if any(sizes[i][0] * self.times != sizes[i][1] for i in other) or len(other) > 1:
            raise _MixedError
        return other[0] if other else None

    def bind(self, binding: Any, longer: Any) -> None:
        value = binding.value
        self.see(binding.var, longer.var)
        if op_name(value) != op_name(longer.value) or _constants(value) != _constants(longer.value):
            raise _MixedError
        if isinstance(value, relax.TupleGetItem | relax.Var | relax.Tuple):
            return
        if not any(self.axes.get(var) is not None for var in relax.analysis.free_vars(value)):
            if self.axes[binding.var] is not None:
                raise _MixedError
            return
        axis, shapes = self.axes[binding.var], _shapes(binding.var)  # all of one rank
        if axis is None or not self.keeps_apart(value, axis, shapes[0]):
            raise _MixedError

    def keeps_apart(self, call: Call, axis: int, result: tuple[int, ...]) -> bool:
        """Whether an operator with samples along ``axis`` of its ``result`` keeps them apart."""
        kind, rank = op_name(call), len(result)
        given = [(arg, self.axes.get(arg)) for arg in call.args if isinstance(arg, relax.Var)]
        batched = [(arg, at) for arg, at in given if at is not None]
        if kind in _ELEMENT_WISE:
            return all(len(shape_of(arg)) - at == rank - axis for arg, at in batched)
        first, at = batched[0] if batched else (None, None)
        if kind == "concat":
            fields = [self.axes.get(field) for field in call.args[0].fields]
            joined = int(call.attrs.axis) % rank
            return set(fields) == {axis} and joined != axis
        if first is None or at is None:
            return False
        if kind == "matmul":
            return _product_apart(call, self.axes)
        if len(batched) > 1:
            return False
        if kind == "take":
            return first.same_as(call.args[1])
        if not first.same_as(call.args[0]):
            return False
        shape = shape_of(first)
        if kind in _IMAGES:
            return at == axis == 0
        if kind in _RESHAPES:  # what lies before the axis moves no sample
            return math.prod(shape[:at]) == math.prod(result[:axis]) == 1
        if kind == "permute_dims":
            axes = call.attrs.axes
            order = [int(a) for a in axes] if axes is not None else list(range(rank))[::-1]
            return order[axis] == at
        if kind in _REDUCTIONS:
            reduced = call.attrs.axis
            return reduced is not None and at not in [int(a) % len(shape) for a in reduced]
        if kind in _ALONG_ONE:
            return at == axis and int(call.attrs.axis) % rank != at
        if kind in _NORMALIZATIONS:
            return at == axis and at not in [int(a) % rank for a in call.attrs.axes]
        if kind == "split":
            return at == axis and int(call.attrs.axis) % len(shape) != at
        if kind == "strided_slice":
            axes = [int(a.value) % rank for a in call.args[1].fields]
            return at == axis and at not in axes
        return kind == "nn.pad" and at == axis

    def check_leading(self, result: Expr) -> None:
        """Raise where the samples of an output, or of a tuple of them, do not lie one after the
        other."""
        axis = self.axes.get(result)
        if axis is None or any(math.prod(shape[:axis]) != 1 for shape in _shapes(result)):
            raise _MixedError


def _constants(value: Any) -> list[bytes]:
    """The numbers that an operator has beside the tensors that it reads."""
    if not isinstance(value, tvm.ir.Call):
        return []
    arrays = [array for arg in value.args if (array := const_value(arg)) is not None]
    return [str(value.attrs).encode(), *(array.tobytes() for array in arrays)]


def _shapes(var: Any) -> list[tuple[int, ...]]:
    """Of a variable, or of each tensor of a tuple."""
    types = var.ty.fields if isinstance(var.ty, relax.TupleType) else [var.ty]
    return [tuple(int(size) for size in ty.shape) for ty in types]


def _product_apart(call: Call, axes: dict[Any, int | None]) -> bool:
    """Whether a matrix product sums up along no batch."""
    left, right = call.args[:2]
    ranks = len(shape_of(left)), len(shape_of(right))
    at = axes.get(left), axes.get(right)
    if at[0] is not None and at[1] is not None:  # each sample by its own matrix
        outer = at[0] < ranks[0] - 2 and at[1] < ranks[1] - 2
        return outer and ranks[0] - at[0] == ranks[1] - at[1]
    if at[0] is not None:
        return at[0] != ranks[0] - 1
    return at[1] is not None and ranks[1] > 1 and at[1] != ranks[1] - 2
