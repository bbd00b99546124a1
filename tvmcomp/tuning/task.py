"""A tuning task: one fused, unscheduled PrimFunc of the module, and the key its records go by."""

from __future__ import annotations

import base64
import binascii
import copy
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvmcomp.tuning.block_names import numbered_reductions
from tvmcomp.tuning.log.record import Argument
from tvmcomp.tvm_import import tvm

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

#: The attributes that belong to the computation. What other passes leave on a PrimFunc (its name
#: in the module, its pattern kind, its target) must not keep a record from being found.
_KEPT_ATTRIBUTES = ("s_tir", "tirx.noalias")

_MAX_MODULE_BYTES = 64 << 20


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
    """Return ``func`` under the name ``main``, with only what defines it."""
    for name in func.attrs.keys() if func.attrs else ():
        if name not in _KEPT_ATTRIBUTES:
            func = func.without_attr(name)
    func = numbered_reductions(func)
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
    return copy.deepcopy(tvm.IRModule({"main": normalize(func)}))


def arguments_of(func: PrimFunc) -> tuple[Argument, ...]:
    """The tensors that ``func`` takes, in order, its output last."""
    from tvm.s_tir.meta_schedule.arg_info import ArgInfo

    return tuple(
        Argument(str(info.dtype), tuple(int(dim) for dim in info.shape))
        for info in ArgInfo.from_prim_func(func)
    )


def write_module(func: PrimFunc) -> str:
    """The normalised ``func`` as text: an IRModule as TVM writes it, compressed, in base64."""
    text = str(tvm.ir.save_json(tvm.IRModule({"main": normalize(func)})))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def read_module(text: str) -> PrimFunc:
    """The PrimFunc that :func:`write_module` wrote.

    TVM checks little of what it reads: read texts from outside in a worker process.

    Raises:
        ValueError: it is not such a text.
        Exception: whatever TVM raises where it is no module.
    """
    func = tvm.ir.load_json(unpack(text).decode())["main"]
    if not isinstance(func, tvm.tirx.PrimFunc):
        raise ValueError("the module's main is no PrimFunc")
    return func


def unpack(text: str) -> bytes:
    """The JSON of the IRModule in such a text, not looked into. Raises ValueError."""
    try:
        unpacker = zlib.decompressobj()
        module = unpacker.decompress(base64.b64decode(text, validate=True), _MAX_MODULE_BYTES)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"the module can't be read: {error}") from None
    if not unpacker.eof:
        raise ValueError("the module is cut short or too large")
    return module
