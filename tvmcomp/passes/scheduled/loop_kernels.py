"""The kernels between a loop's trips: its counter, its condition, its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvmcomp.passes.scheduled.schedule import schedule_module
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimFunc

te, tirx = tvm.te, tvm.tirx
T = tvm.script.ir_builder.tirx

#: What they are called.
KERNEL = "between_trips"


class LoopKernels:
    """Kernels, scheduled for one target; types are Relax's, of static shapes."""

    def __init__(self, target: TargetDescription) -> None:
        self.target = target

    def zeros(self, ty: Any) -> Any:
        """``() -> `` a tensor of zeros."""
        zero = tirx.const(0, str(ty.dtype))
        return self._of([], lambda: te.compute(_shape(ty), lambda *_: zero))

    def copy(self, ty: Any) -> Any:
        """``x -> `` another tensor with the same elements."""
        return self._of([ty], lambda x: te.compute(_shape(ty), lambda *at: x(*at)))

    def begins(self) -> Any:
        """``(going, trips) -> `` whether there is a first trip."""

        def compute(going: Any, trips: Any) -> Any:
            return te.compute((), lambda: tirx.And(going(), trips() > 0))

        return self._of([_scalar("bool"), _scalar("int64")], compute)

    def count(self) -> Any:
        """``i -> i + 1``."""
        return self._of([_scalar("int64")], lambda i: te.compute((), lambda: i() + 1))

    def advance(self, condition: Any) -> Any:
        """``(i, going, trips) -> (i + 1, whether there is a trip of that number)``.

        Args:
            condition: the type of ``going``, which may have dimensions of 1.
        """
        rank = len(_shape(condition))

        def compute(i: Any, going: Any, trips: Any) -> Any:
            more = te.compute((), lambda: tirx.And(going(*[0] * rank), i() + 1 < trips()))
            return [te.compute((), lambda: i() + 1), more]

        return self._of([_scalar("int64"), condition, _scalar("int64")], compute)

    def write_row(self, rows: Any, row: Any) -> Any:
        """``(row, i, rows) ->`` ``rows`` with ``row`` in its place ``i``."""
        shape, dtype = [*map(int, _shape(row))], str(row.dtype)
        grid = shape or [1]
        with tvm.script.ir_builder.IRBuilder() as ib, T.prim_func(is_private=True, s_tir=True):
            T.func_attr({"tirx.noalias": True})
            source = T.arg("row", T.buffer(shape, dtype))
            place = T.arg("i", T.buffer((), "int64"))
            into = T.arg("rows", T.buffer([*map(int, _shape(rows))], dtype))
            with T.sblock("root"):
                T.reads()
                T.writes()
                with T.grid(*grid) as loops:
                    loops = [loops] if len(grid) == 1 else list(loops)
                    with T.sblock("row"):
                        axes = [T.axis.spatial(n, at) for n, at in zip(grid, loops, strict=True)]
                        element = axes if shape else []
                        T.reads(source[tuple(element)], place[()])
                        to = [place[()], *element]
                        T.writes(into[tuple(to)])
                        T.buffer_store(into, source[tuple(element)], to)
        return self._scheduled(ib.get())

    def _of(self, types: list[Any], compute: Callable[..., Any]) -> Any:
        inputs = [te.placeholder(_shape(ty), str(ty.dtype), f"x{i}") for i, ty in enumerate(types)]
        results = compute(*inputs)
        results = results if isinstance(results, list) else [results]
        return self._scheduled(te.create_prim_func([*inputs, *results]))

    def _scheduled(self, func: PrimFunc) -> Any:
        mod = schedule_module(tvm.IRModule({KERNEL: func}), self.target)
        return mod[KERNEL].without_attr("global_symbol")


def _shape(ty: Any) -> list[Any]:
    return [tirx.IntImm("int64", int(size)) for size in ty.shape]


def _scalar(dtype: str) -> Any:
    return tvm.relax.TensorType((), dtype)
