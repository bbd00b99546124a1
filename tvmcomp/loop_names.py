"""What the functions of loops are called, which the runtime tells from kernels by their names."""

from __future__ import annotations

#: In the name of a body, and of what runs it. No kernel has it: the importer makes ``_`` of ``__``
#: in the names of a model, and no operator is called so.
_MARK = "__body"


def body_name(node: str) -> str:
    """The name of the body of the loop ``node``, an identifier."""
    return f"{node}{_MARK}"


def is_loop_function(name: str) -> bool:
    """Whether ``name`` is a body's, or of what runs it, and no kernel's."""
    return _MARK in name
