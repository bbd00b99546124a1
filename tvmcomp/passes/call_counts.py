"""How often an inference calls each kernel."""

from __future__ import annotations

from collections.abc import Mapping

from tvmcomp.passes.bodies import trips_of_bodies
from tvmcomp.passes.rewriter import CALLS, op_name
from tvmcomp.schedules.conv.padding import PADDING
from tvmcomp.schedules.rows.moves import JOIN, PART
from tvmcomp.tvm_types import Module, PrimFunc


def call_counts(mod: Module) -> dict[str, int]:
    """How often an inference calls each PrimFunc, by name; see :func:`trips_of_bodies`."""
    counts: dict[str, int] = {}
    for func, times in (("main", 1), *trips_of_bodies(mod).items()):
        for binding in (each for block in mod[func].body.blocks for each in block.bindings):
            if op_name(binding.value) in CALLS:
                name = str(binding.value.args[0].name_hint)  # not TVM's own kind of string
                counts[name] = counts.get(name, 0) + times
    return counts


def calls_of_tasks(fused: Module, placed: Module, tasks: Mapping[str, PrimFunc]) -> dict[str, int]:
    """How often an inference runs each task.

    Args:
        fused: Relax over the tasks.
        placed: the same, scheduled; borders and joins that producers write are not called in it.
        tasks: by name.
    """
    kept = call_counts(placed)
    counts = call_counts(fused)
    return {name: n for name, n in counts.items() if name in kept or not is_move(tasks[name])}


def is_move(func: PrimFunc) -> bool:
    """Whether a PrimFunc only moves its inputs: into a border or a join, or out of a whole."""
    attributes = set(func.attrs.keys()) if func.attrs else set()
    return not attributes.isdisjoint((PADDING, JOIN, PART))
