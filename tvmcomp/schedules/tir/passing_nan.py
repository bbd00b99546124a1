"""NaN passes through ``max`` and ``min``, as in ONNX Runtime and numpy.

TVM's code compares and selects, ``a > b ? a : b``, which gives ``b`` where either is NaN. So do
x86's instructions: with the operands in the right order, the constant first, ``max(0, x)`` passes
NaN at no cost. Two variables take two instructions more there. ARM's instructions pass NaN whatever
the order, and are fewer than what TVM's code becomes.

A softmax gives NaN for a row that holds one, whatever it took for the row's largest element: such a
reduction is marked, and stays the fastest.
"""

from __future__ import annotations

import math
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module, PrimExpr, PrimFunc

tirx = tvm.tirx

#: Block annotation, and in the end a statement's: ``max`` and ``min`` under it may lose NaN.
LOSES_NAN = "pragma_tvmcomp_loses_nan"
_ARM = ("aarch64", "arm")
_OPERATION = {tirx.Max: "maximum", tirx.Min: "minimum"}
_LLVM_TYPE = {"float16": "half", "float32": "float", "float64": "double"}


@tirx.transform.prim_func_pass(opt_level=0, name="tvmcomp.PassingNaN")  # type: ignore[untyped-decorator]
def passing_nan(func: PrimFunc, _mod: Module, _context: Any) -> Any:
    """Rewrite ``max`` and ``min`` of floats in ``func``, vectorized already and simplified."""
    target = func.attrs["target"] if func.attrs and "target" in func.attrs.keys() else None  # noqa: SIM118
    if target is None or str(target.kind.name) != "llvm":
        return func
    by_order = not str(target.attrs.get("mtriple", "")).startswith(_ARM)
    used: dict[str, str] = {}

    def replace(node: Any) -> Any:
        kind, a, b = type(node), node.a, node.b
        element = _LLVM_TYPE.get(str(node.ty.dtype).split("x")[0])
        if element is None:
            return node
        if by_order and _is_number(a):
            return node
        if by_order and _is_number(b):
            return kind(b, a)
        lanes = int(tvm.DataType(str(node.ty.dtype)).lanes)
        name = f"tvmcomp.{_OPERATION[kind]}.{element}.{lanes}"
        used[name] = _definition(name, _OPERATION[kind], element, lanes)
        return tirx.call_pure_extern(str(node.ty.dtype), name, a, b)

    def unmark(node: Any) -> Any:
        if node.attr_key != LOSES_NAN:
            return node
        return _compared(node.body) if by_order else node.body

    body = tvm_ffi.structural_map(func.body, ((tirx.AttrStmt, unmark),))
    body = tvm_ffi.structural_map(body, tuple((kind, replace) for kind in _OPERATION))
    if not used:
        return func.with_body(body)
    text = tvm.ir.StringImm("\n".join(used.values()))
    return func.with_body(tirx.AttrStmt(tirx.const(0, "int32"), "pragma_import_llvm", text, body))


def _compared(statement: Any) -> Any:
    """``statement`` with comparisons and selections, which LLVM makes one instruction of."""

    def larger(node: Any) -> Any:
        return tirx.Select(node.a > node.b, node.a, node.b)

    def smaller(node: Any) -> Any:
        return tirx.Select(node.a < node.b, node.a, node.b)

    return tvm_ffi.structural_map(statement, ((tirx.Max, larger), (tirx.Min, smaller)))


def _is_number(expr: PrimExpr) -> bool:
    """Whether ``expr`` is a constant, and no NaN."""
    if isinstance(expr, tirx.Broadcast):
        return _is_number(expr.value)
    return isinstance(expr, tirx.FloatImm) and not math.isnan(expr.value)


def _definition(name: str, operation: str, element: str, lanes: int) -> str:
    """LLVM's ``maximum`` or ``minimum``, which need not tell 0 from -0."""
    kind = f"<{lanes} x {element}>" if lanes > 1 else element
    bits = {"half": 16, "float": 32, "double": 64}[element]
    intrinsic = f"llvm.{operation}.{f'v{lanes}' if lanes > 1 else ''}f{bits}"
    return f"""\
declare {kind} @{intrinsic}({kind}, {kind})
define {kind} @"{name}"({kind} %a, {kind} %b) {{
  %result = call nsz {kind} @{intrinsic}({kind} %a, {kind} %b)
  ret {kind} %result
}}"""
