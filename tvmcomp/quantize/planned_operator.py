"""What is planned for one operator: whether it runs in integers, what is quantized, or why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tvmcomp.passes.operator_kinds import ANCHORS
from tvmcomp.passes.rewriter import dtype_of
from tvmcomp.recurrent import RECURRENT
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Var

relax = tvm.relax


@dataclass(frozen=True)
class PlannedOperator:
    """An operator of ``main`` and what quantizing it means.

    Attributes:
        var: the variable that holds its result.
        kind: its Relax operator.
        reads: the tensors that are quantized for it; empty where it stays float or reads only
            registers.
        readers: the variables whose bindings read those tensors (several for a table's chain).
        quantized: whether it runs in integers.
        reason: why not.
        stored: the type that the weight of an operator kept in float is stored in: ``int8`` or
            ``float16``, or ``float32`` of 8 significant bits; None leaves it.
    """

    var: Var
    kind: str
    reads: tuple[Any, ...] = ()
    readers: tuple[Any, ...] = ()
    quantized: bool = False
    reason: str | None = None
    stored: Literal["int8", "float16", "float32"] | None = None

    @property
    def name(self) -> str:
        """The operator's name."""
        return str(self.var.name)

    @property
    def float_dtype(self) -> str:
        """The type of its result in the float network."""
        is_tensor = isinstance(self.var.ty, relax.TensorType)
        return dtype_of(self.var) if is_tensor else "float32"

    @property
    def is_anchor(self) -> bool:
        """Whether it has a weight to quantize."""
        return self.quantized and self.kind in ANCHORS

    @property
    def is_recurrent(self) -> bool:
        """Whether it is a recurrent layer, which rounds its own state."""
        return self.quantized and self.kind == RECURRENT

    @property
    def is_embedding(self) -> bool:
        """Whether it takes rows out of a table that is stored as int8."""
        return self.quantized and self.kind == "take"

    @property
    def rounds(self) -> bool:
        """Whether quantizing it rounds anything, so that it can do harm."""
        return bool(self.reads) or self.is_embedding or self.is_recurrent
