"""Statements of a GPU kernel: its launch, loops of threads, arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvmcomp.schedules.cuda.printable import printable
from tvmcomp.schedules.rows.loop_nest import sequence
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer, PrimExpr, PrimFunc

tirx = tvm.tirx

WARP = 32
#: Threads of a block that works element by element.
THREADS = 256
#: Threads that keep a multiprocessor busy.
BUSY = 512
_THREAD_INDEX = 1  # the kind of a tirx.IterVar
_INDEX = "int32"


def number(value: int) -> Any:
    """``value`` as an index."""
    return tirx.const(value, _INDEX)


def launch(grid: Sequence[int], threads: int, body: Callable[[list[Any], Any], Any]) -> Any:
    """``body``, given the block's indices and the thread's, by each thread of a ``grid`` of up to
    three dimensions of blocks of ``threads``."""
    names = [f"blockIdx.{dim}" for dim in "xyz"[: len(grid)]]
    every = [tirx.Var(name, _INDEX) for name in (*names, "threadIdx.x")]
    statement = body(every[:-1], every[-1])
    # The innermost is the thread: TVM looks at that one for what a thread alone accesses.
    for var, size in zip(every[::-1], (*grid, threads)[::-1], strict=True):
        domain = tvm.ir.Range.from_min_extent(number(0), number(size))
        axis = tirx.IterVar(domain, var, _THREAD_INDEX, var.name)
        statement = tirx.AttrStmt(axis, "thread_extent", number(size), statement)
    return statement


def array(size: int, dtype: str, name: str, scope: str = "local") -> Any:
    """An array of each thread, or (``shared.dyn``) of each block; for :func:`with_arrays`."""
    alignment = 16 if scope == "local" else 128
    return tirx.decl_buffer([number(size)], dtype, name, scope=scope, data_alignment=alignment)


def with_arrays(arrays: Sequence[Buffer], statements: Sequence[Any]) -> Any:
    """The statements, with arrays of their own."""
    return sequence([*(tirx.AllocBuffer(each) for each in arrays), *statements])


def repeat(count: int, body: Callable[[Any], Any], kind: Any = tirx.ForKind.SERIAL) -> Any:
    """A loop; one that runs once is just its body."""
    return _loop(count, body, kind, {})


def rolled(count: int, body: Callable[[Any], Any]) -> Any:
    """A loop that the CUDA compiler leaves one: its body is long, and registers are few."""
    return _loop(count, body, tirx.ForKind.SERIAL, {"disable_unroll": True})


def _loop(count: int, body: Callable[[Any], Any], kind: Any, annotations: dict[str, Any]) -> Any:
    if count == 1:
        return body(number(0))
    var = tirx.Var("i", _INDEX)
    return tirx.For(var, number(0), number(count), kind, body(var), annotations=annotations)


def unrolled(count: int, body: Callable[[Any], Any]) -> Any:
    """A loop whose index is known at compile time."""
    return repeat(count, body, tirx.ForKind.UNROLLED)


def share(count: int, threads: int, thread: PrimExpr, body: Callable[[Any], Any]) -> Any:
    """``body`` for 0 to ``count - 1``, neighbours by neighbouring threads of a block."""

    def step(i: PrimExpr) -> Any:
        item = i * threads + thread
        statement = body(item)
        if count % threads == 0:
            return statement
        return tirx.IfThenElse(item < count, statement, None)

    return repeat(-(-count // threads), step)


def when(conditions: Sequence[Any], statement: Any) -> Any:
    """``statement`` where all ``conditions`` hold."""
    return tirx.IfThenElse(tirx.all(*conditions), statement, None) if conditions else statement


def kernel_function(func: PrimFunc, statements: Sequence[Any]) -> Any:
    """``func`` computed by the launches ``statements``."""
    # Relax's passes look for a root block in every kernel.
    root = tvm.s_tir.SBlock([], [], [], "root", printable(sequence(list(statements))))
    body = tvm.s_tir.SBlockRealize([], tirx.const(True, "bool"), root)
    made = tirx.PrimFunc(func.params, body, func.ret_type, attrs=func.attrs)
    return made.with_attr("tirx.noalias", True).with_attr("tirx.is_scheduled", True)
