"""How TVM may fuse an operator's kernel with others."""

from __future__ import annotations

from enum import IntEnum


class OpPattern(IntEnum):
    """TVM's ``OpPatternKind`` (include/tvm/relax/op_attr_types.h), which Python has no name for."""

    ELEMENT_WISE = 0
    INJECTIVE = 2
    #: Element-wise operators fuse behind it.
    OUT_FUSABLE = 4
    #: Nothing is fused with it.
    OPAQUE = 8
