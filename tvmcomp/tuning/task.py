"""A tuning task: one fused, unscheduled PrimFunc of the module, and the key its records go by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from tvmcomp.tvm_import import tvm

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

#: The attributes that belong to the computation. What other passes leave on a PrimFunc (its name
#: in the module, its pattern kind, its target) must not keep a record from being found.
_KEPT_ATTRIBUTES = ("s_tir", "tirx.noalias")


class Argument(msgspec.Struct, frozen=True):
    """A tensor argument of a kernel: numpy dtype name and static shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Task:
    """One kernel to tune.

    Attributes:
        name: what a person recognises it by.
        func: a PrimFunc of one fused operator, before any scheduling, with static shapes.
        weight: how often one inference calls it.
    """

    name: str
    func: PrimFunc
    weight: int = 1


def normalize(func: PrimFunc) -> PrimFunc:
    """Return ``func`` under the name ``main``, with only the attributes that define it."""
    for name in func.attrs.keys() if func.attrs else ():
        if name not in _KEPT_ATTRIBUTES:
            func = func.without_attr(name)
    return func.with_attr("global_symbol", "main").with_attr("tirx.noalias", True)


def workload_hash(func: PrimFunc) -> str:
    """The structural hash of the normalised ``func``, as 16 hexadecimal digits.

    It is the same in every process; names of buffers and blocks do not enter it.
    """
    import tvm_ffi  # not above: tvm_import must be the first to import it

    return f"{tvm_ffi.structural_hash(normalize(func)) & (2**64 - 1):016x}"


def module_of(func: PrimFunc) -> tvm.IRModule:
    """An IRModule with a deep copy of the normalised ``func`` as its ``main``.

    A Schedule must be made of a deep copy: it changes in place what it shares with ``func``
    (TVM 0.27 shows it after a ``with_attr``, which copies the function but not its body).
    """
    module = tvm.IRModule({"main": normalize(func)})
    return tvm.ir.load_json(tvm.ir.save_json(module))


def arguments_of(func: PrimFunc) -> tuple[Argument, ...]:
    """The tensors that ``func`` takes, in order, its output last."""
    from tvm.s_tir.meta_schedule.arg_info import ArgInfo

    return tuple(
        Argument(str(info.dtype), tuple(int(dim) for dim in info.shape))
        for info in ArgInfo.from_prim_func(func)
    )
