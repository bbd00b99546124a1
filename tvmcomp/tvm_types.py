"""Names for the TVM objects in our signatures.

TVM publishes few types, and importing it takes a second: to a type checker these are ``Any``, to a
reader they say what a function takes.
"""

from __future__ import annotations

from typing import Any, TypeAlias

#: ``tvm.ir.IRModule``.
Module: TypeAlias = Any
#: Of Relax: an expression, a variable, an operator's call and its attributes, what binds an
#: expression to a variable, ``relax.BlockBuilder``.
Expr: TypeAlias = Any
Var: TypeAlias = Any
Call: TypeAlias = Any
Attributes: TypeAlias = Any
Binding: TypeAlias = Any
Builder: TypeAlias = Any
#: What the importer gives a converter: the node's inputs by position, None where one is left out.
Inputs: TypeAlias = Any
#: ``tirx.PrimFunc``: a kernel, scheduled or not; a scalar or vector expression in it, and what it
#: reads or writes.
PrimFunc: TypeAlias = Any
PrimExpr: TypeAlias = Any
Buffer: TypeAlias = Any
#: ``s_tir.Schedule``, and what it calls a block and a loop.
Schedule: TypeAlias = Any
Block: TypeAlias = Any
Loop: TypeAlias = Any
#: ``te.Tensor``.
Tensor: TypeAlias = Any
