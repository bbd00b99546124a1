"""The last vector of a loop that ends inside one: loads and stores of the lanes that are left.

:mod:`tvmcomp.schedules.tir.whole_vectors` marks such a vector, and TVM vectorizes it as if it were
a whole one. AVX-512 reads and writes under a mask, so that nothing beyond the end is touched:

    attr lanes_left = 53 - vector * 16:
        b[vector * 16 + ramp(0, 1, 16)] =        ->   store(&b[vector * 16], left,
            a[vector * 16 + ramp(0, 1, 16)] + …           load(&a[vector * 16], left) + …)

The other lanes of what is loaded are 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.stages import Load, mentions, substitute
from tvmcomp.schedules.tir.byte_table import is_byte_table
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module, PrimExpr, PrimFunc, Var

tirx = tvm.tirx

#: Attribute of a :func:`marked` vector: how many of its lanes are there, an expression.
LANES_LEFT = "tvmcomp.lanes_left"
_FEATURES = ("avx512bw", "avx512vl")
_LLVM_TYPE = {
    "float16": "half", "float32": "float", "float64": "double",
    "int8": "i8", "uint8": "i8", "int16": "i16", "uint16": "i16",
    "int32": "i32", "uint32": "i32", "int64": "i64", "uint64": "i64",
}  # fmt: skip
#: Operators whose operands need not be computed for all lanes, or that act.
_NOT_IN_VECTORS = ("if_then_else", "call_extern")
#: An integer division by what a lane beyond the end holds must not be.
_UNSAFE = (tirx.Div, tirx.Mod, tirx.FloorDiv, tirx.FloorMod)


def has_masks(target: TargetDescription) -> bool:
    """Whether ``target`` has vector loads and stores under a mask, of bytes too."""
    return target.family == "x86" and set(_FEATURES) <= set(target.features)


def can_mask(func: PrimFunc) -> bool:
    """The same of the target that ``func`` is compiled for."""
    target = func.attrs["target"] if func.attrs and "target" in func.attrs.keys() else None  # noqa: SIM118
    if target is None or str(target.kind.name) != "llvm":
        return False
    has = tvm.get_global_func("target.target_has_feature")
    return all(has(feature, target) for feature in _FEATURES)


def can_be_masked(body: Any, lane: Var, lanes: int, loops: Sequence[Any]) -> bool:
    """Whether ``body`` may be computed for all values of ``lane``, loads and stores aside.

    Args:
        body: of a loop over ``lane``, without the condition that some values of it don't fulfil.
        lane: its variable.
        lanes: how many values it has.
        loops: the other loops of the function.
    """
    analyzer = tvm.sym.Analyzer()
    for loop in loops:
        analyzer.bind(loop.loop_var, tvm.ir.Range.from_min_extent(loop.min, loop.extent))
    possible = True

    def see_statement(node: Any) -> None:
        nonlocal possible
        if not isinstance(node, tirx.BufferStore | tirx.SeqStmt):
            possible = False
        elif isinstance(node, tirx.BufferStore):
            stays = node.buffer.scope() != "local" and _is_element(node.buffer)
            possible = possible and stays and _step(node.indices, lane) == 1

    def see_load(node: Any) -> None:
        nonlocal possible
        step = _step(node.indices, lane)
        if step == 0 or is_byte_table(node):
            return
        if step != 1 or not _is_element(node.source):
            possible = False
        elif node.source.scope() == "local":
            last = substitute(node.indices[0], {lane: tirx.const(lanes - 1, lane.ty.dtype)})
            possible = possible and analyzer.can_prove(last < node.source.shape[0])

    def see_division(node: Any) -> None:
        nonlocal possible
        if "float" not in str(node.ty.dtype) and mentions(node.b, lane):
            possible = False

    def see_call(node: Any) -> None:
        nonlocal possible
        if str(getattr(node.op, "name", "")).rpartition(".")[2] in _NOT_IN_VECTORS:
            possible = False

    tvm_ffi.structural_walk(
        body,
        (
            (tirx.Stmt, see_statement),
            (Load, see_load),
            (tvm.ir.Call, see_call),
            *((kind, see_division) for kind in _UNSAFE),
        ),
    )
    return possible


def _is_element(buffer: Any) -> bool:
    return str(buffer.ty.dtype) in _LLVM_TYPE


def _step(indices: Sequence[PrimExpr], lane: Var) -> int | None:
    """By how much the one index grows from a lane to the next; None where that is not known."""
    if len(indices) != 1:
        return None
    if not mentions(indices[0], lane):
        return 0
    one = tirx.const(1, lane.ty.dtype)
    step = tvm.sym.Analyzer().simplify(substitute(indices[0], {lane: lane + one}) - indices[0])
    return int(step) if isinstance(step, tirx.IntImm) else None


@tirx.transform.prim_func_pass(opt_level=0, name="tvmcomp.MaskedVectors")  # type: ignore[untyped-decorator]
def masked_vectors(func: PrimFunc, _mod: Module, _context: Any) -> Any:
    """Put the loads and stores of the vectors that are marked in ``func`` under masks."""
    used: dict[str, str] = {}

    def mask(node: Any) -> Any:
        if node.attr_key != LANES_LEFT:
            return node
        left, vector = node.value, node.body.then_case
        if not _is_vectorized(vector):
            return node.body.else_case

        def load(old: Any) -> Any:
            if old.source.scope() == "local" or not isinstance(old.indices[0], tirx.Ramp):
                return old
            dtype = str(old.ty.dtype)
            name = _function(used, "load", str(old.source.ty.dtype), old.indices[0].lanes)
            return tirx.call_extern(dtype, name, _address(old.source, old.indices[0]), left)

        def store(old: Any) -> Any:
            name = _function(used, "store", str(old.buffer.ty.dtype), old.indices[0].lanes)
            address = _address(old.buffer, old.indices[0])
            return tirx.Evaluate(tirx.call_extern("int32", name, address, left, old.value))

        return tvm_ffi.structural_map(vector, ((Load, load), (tirx.BufferStore, store)))

    body = tvm_ffi.structural_map(func.body, ((tirx.AttrStmt, mask),))
    if not used:
        return func.with_body(body)
    text = tvm.ir.StringImm("\n".join(used.values()))
    return func.with_body(tirx.AttrStmt(tirx.const(0, "int32"), "pragma_import_llvm", text, body))


def marked(left: PrimExpr, vector: Any, one_by_one: Any) -> Any:
    """The statement ``vector``, about to be vectorized, of which ``left`` lanes are there.

    TVM makes a loop of what it finds no vector form for: then ``one_by_one`` is taken.
    """
    return tirx.AttrStmt(
        tirx.const(0, "int32"), LANES_LEFT, left, tirx.IfThenElse(left > 0, vector, one_by_one)
    )


def _is_vectorized(statement: Any) -> bool:
    vectorized = True

    def see(node: Any) -> None:
        nonlocal vectorized
        if isinstance(node, tirx.BufferStore):
            vectorized = vectorized and isinstance(node.indices[0], tirx.Ramp)
        elif not isinstance(node, tirx.SeqStmt):
            vectorized = False

    tvm_ffi.structural_walk(statement, (tirx.Stmt, see))
    return vectorized


def _address(buffer: Any, index: Any) -> Any:
    return tirx.address_of(tirx.BufferLoad(buffer, [index.base]))


def _function(used: dict[str, str], kind: str, dtype: str, lanes: Any) -> str:
    """The function's name; its definition is put into ``used``."""
    element, lanes = _LLVM_TYPE[dtype], int(lanes)
    name = f"tvmcomp.masked_{kind}.{element}.{lanes}"
    vector, counts = f"<{lanes} x {element}>", f"<{lanes} x i32>"
    numbers = ", ".join(f"i32 {lane}" for lane in range(lanes))
    mask = f"""\
  %first = insertelement {counts} poison, i32 %left, i32 0
  %all = shufflevector {counts} %first, {counts} poison, {counts} zeroinitializer
  %mask = icmp sgt {counts} %all, <{numbers}>"""
    suffix = f"v{lanes}{element.replace('float', 'f32').replace('double', 'f64')}"
    intrinsic = f"llvm.masked.{kind}.{suffix.replace('half', 'f16')}.p0"
    if kind == "load":
        used[name] = f"""\
declare {vector} @{intrinsic}(ptr, <{lanes} x i1>, {vector})
define {vector} @"{name}"(ptr %at, i32 %left) alwaysinline {{
{mask}
  %found = call {vector} @{intrinsic}(ptr %at, <{lanes} x i1> %mask, {vector} zeroinitializer)
  ret {vector} %found
}}"""
    else:
        used[name] = f"""\
declare void @{intrinsic}({vector}, ptr, <{lanes} x i1>)
define i32 @"{name}"(ptr %at, i32 %left, {vector} %value) alwaysinline {{
{mask}
  call void @{intrinsic}({vector} %value, ptr %at, <{lanes} x i1> %mask)
  ret i32 0
}}"""
    return name
