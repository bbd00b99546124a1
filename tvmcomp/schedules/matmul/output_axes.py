"""Which loops of a matrix product's output are its batch, its rows and its columns.

The output is written in the layout that its reader wants: ``[batch, rows, heads * columns]`` for
attention, say. An attribute of the block says what each of its dimensions is made of.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.schedules.matmul.view import View
from tvmcomp.tvm_types import Block, Schedule

#: Block attribute: for each dimension of the output ``batch``, ``rows`` or ``columns`` with its
#: extent, comma-separated where a dimension is made of several; outermost first.
ROLES = "tvmcomp.roles"


def is_writable(output: View) -> bool:
    """Whether the schedules can write ``output``, a view of a result ``[*batch, rows, columns]``.

    The rows must be a dimension of their own, and the columns whole and side by side in memory.
    """
    row, column = len(output.source) - 2, len(output.source) - 1
    for dim in output.dims:
        for number, atom in enumerate(dim):
            if atom.axis is None:
                return False  # A broadcast has no one place to be written to.
            if atom.axis < row:
                continue
            alone = len(dim) == 1 if atom.axis == row else number == len(dim) - 1
            if atom.extent != output.source[atom.axis] or not alone:
                return False
    return any(atom.axis == column for atom in output.dims[-1])


def row_dimension(output: View) -> int:
    """The dimension of ``output`` that is its rows, of which there are several."""
    row = len(output.source) - 2
    found = (n for n, dim in enumerate(output.dims) if any(atom.axis == row for atom in dim))
    return next(found)


def roles_of(output: View) -> list[str]:
    """The value of :data:`ROLES` for ``output``, a view of a result ``[*batch, rows, columns]``."""
    names = {len(output.source) - 2: "rows", len(output.source) - 1: "columns"}
    return [
        ",".join(f"{names.get(atom.axis or 0, 'batch')} {atom.extent}" for atom in dim) or "batch 1"
        for dim in output.dims
    ]


def split_by_role(
    sch: Schedule, block: Block, roles: Block | None = None
) -> tuple[list[Any], Any, Any]:
    """Split the spatial loops of ``block`` where its roles meet.

    Args:
        sch: the schedule.
        block: writes the output.
        roles: the block that has :data:`ROLES`, where that is another.

    Returns:
        The batch's loops, the rows' loop and the columns' loop; loops of reductions stay behind.
    """
    batch, rows, columns = [], None, None
    dims = [str(dim).split(",") for dim in sch.get(roles or block).annotations[ROLES]]
    for loop, parts in zip(sch.get_loops(block), dims, strict=False):
        names, extents = zip(*(part.split() for part in parts), strict=True)
        loops = [loop]
        if len(parts) > 1:
            loops = sch.split(loop, [None, *(int(extent) for extent in extents[1:])])
        for name, part in zip(names, loops, strict=True):
            if name == "rows":
                rows = part
            elif name == "columns":
                columns = part
            else:
                batch.append(part)
    if rows is None:  # A single row.
        rows, columns = sch.split(columns, [1, None])
    return batch, rows, columns
