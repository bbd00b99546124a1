"""What the kernels of a compiled network do, and for which operators: what its report draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvmcomp.model import KernelWork, Operator
from tvmcomp.passes.lowering.call_sources import CallSources
from tvmcomp.passes.lowering.kernel_sources import operator_of
from tvmcomp.tuning.roofline import multiply_adds, nbytes
from tvmcomp.tuning.task import arguments_of


def kernel_works(
    operators: Sequence[Operator],
    computed: CallSources,
    tasks: Mapping[str, Any],
) -> list[KernelWork]:
    """The kernels that an inference calls, in the order that it first does.

    Args:
        operators: the build report's list.
        computed: what each call of each kernel computes.
        tasks: the unscheduled function of each kernel.
    """
    positions = {operator.name: index for index, operator in enumerate(operators)}

    def operators_of(names: frozenset[str]) -> tuple[int, ...]:
        found = {operator_of(name, positions) for name in names} - {None}
        return tuple(sorted(positions[str(name)] for name in found))

    works = []
    for kernel, calls in computed.items():
        if kernel not in tasks:  # a GPU's, which TVM schedules
            continue
        func = tasks[kernel]
        arguments = arguments_of(func)
        works.append(
            KernelWork(
                name=kernel,
                dtype=arguments[0].dtype if arguments else "",
                macs=multiply_adds(func),
                nbytes=sum(map(nbytes, arguments)),
                calls=tuple(map(operators_of, calls)),
            )
        )
    return works
