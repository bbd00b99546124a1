"""Look-ups in a table of 256 bytes, a vector of indices at a time.

A chain of element-wise operators on 8-bit data is such a table
(:mod:`tvmcomp.passes.integers.table`). LLVM loads its entries one by one; AVX-512 VBMI and NEON
permute registers that hold the whole table.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.stages import Load
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module, PrimExpr, PrimFunc

tirx = tvm.tirx

_ENTRIES = 256
_VBMI = "avx512vbmi"
_INTEL = "llvm.x86.avx512.vpermi2var.qi.512"
_NEON = "llvm.aarch64.neon.tbl4.v16i8"


def has_byte_tables(target: TargetDescription) -> bool:
    """Whether ``target`` looks up vectors of bytes."""
    return _VBMI in target.features or target.triple.startswith("aarch64")


def is_byte_table(load: Any) -> bool:
    """Whether ``load`` reads a table of 256 bytes: each of them alone, and no vectors of bytes,
    which is what an array in registers is made of.
    """
    shape = load.source.shape
    size = shape[0] if len(shape) == 1 else None
    entry = tvm.DataType(str(load.source.ty.dtype))
    is_byte = entry.bits == 8 and entry.lanes == 1
    return is_byte and isinstance(size, tirx.IntImm) and int(size) == _ENTRIES


@tirx.transform.prim_func_pass(opt_level=0, name="tvmcomp.ByteTables")  # type: ignore[untyped-decorator]
def byte_tables(func: PrimFunc, _mod: Module, _context: Any) -> Any:
    """Replace the vector look-ups of ``func``, vectorized already, where its target can."""
    target = func.attrs["target"] if func.attrs and "target" in func.attrs.keys() else None  # noqa: SIM118
    if target is None or str(target.kind.name) != "llvm":
        return func
    if tvm.get_global_func("target.target_has_feature")(_VBMI, target):
        width, look_up = 64, _with_vbmi
    elif "aarch64" in str(target.attrs.get("mtriple", "")):
        width, look_up = 16, _with_neon
    else:
        return func

    def replace(load: Any) -> Any:
        lanes = _byte_lanes(str(load.ty.dtype))
        if not 1 < lanes <= width or not is_byte_table(load):
            return load
        position = load.indices[0]
        if isinstance(position, tirx.Ramp | tirx.Broadcast):
            return load
        return look_up(load.source, position.astype(f"uint8x{lanes}"), lanes)

    return func.with_body(tvm_ffi.structural_map(func.body, ((Load, replace),)))


@cache
def _byte_lanes(dtype: str) -> int:
    """How many bytes a vector of ``dtype`` holds; 0 where its elements are none."""
    found = tvm.DataType(dtype)
    return int(found.lanes) if found.bits == 8 else 0


def _with_vbmi(table: Any, position: PrimExpr, lanes: int) -> Any:
    """Two permutes of 128 entries each, chosen between by the index's highest bit."""
    quarters = [_part(table, 64 * n, 64) for n in range(4)]
    at = _widened(position, lanes, 64)
    dtype = f"{table.ty.dtype}x64"
    low, high = (
        tirx.call_llvm_pure_intrin(dtype, _INTEL, quarters[n], at, quarters[n + 1]) for n in (0, 2)
    )
    return _narrowed(tirx.Select(at < tirx.const(128, "uint8x64"), low, high), lanes, 64)


def _with_neon(table: Any, position: PrimExpr, lanes: int) -> Any:
    """Four look-ups of 64 entries each: an index beyond them gives 0."""
    at = _widened(position, lanes, 16)
    dtype = f"{table.ty.dtype}x16"
    found = []
    for quarter in range(4):
        parts = [_part(table, 64 * quarter + 16 * n, 16) for n in range(4)]
        within = at - tirx.const(64 * quarter, "uint8x16")
        found.append(tirx.call_llvm_pure_intrin(dtype, _NEON, *parts, within))
    return _narrowed((found[0] | found[1]) | (found[2] | found[3]), lanes, 16)


def _part(table: Any, offset: int, lanes: int) -> Any:
    begin = tirx.const(offset, "int32")
    return tirx.BufferLoad(table, [tirx.Ramp(begin, tirx.const(1, "int32"), lanes)])


def _widened(vector: PrimExpr, lanes: int, width: int) -> Any:
    """``vector`` of ``lanes`` as one of ``width``; what it ends in does not matter."""
    if lanes == width:
        return vector
    copies = [vector] * -(-width // lanes)
    return tirx.Shuffle(copies, [tirx.const(i, "int32") for i in range(width)])


def _narrowed(vector: PrimExpr, lanes: int, width: int) -> Any:
    if lanes == width:
        return vector
    return tirx.Shuffle([vector], [tirx.const(i, "int32") for i in range(lanes)])
