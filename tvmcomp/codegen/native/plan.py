"""What an inference does, in order: calls of kernels, and loops of them, on tensors at places.

    Plan = steps over places;  Step = Call | Loop

A plan knows nothing of TVM, and nothing of addresses: :mod:`.workspace` gives buffers theirs, and
:mod:`.driver` writes both down in C.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

#: Where a tensor lies, with its index there: an input or a constant of the network; a scalar, which
#: the driver holds; a buffer of the workspace; the two places of what a loop carries, which change
#: roles after every trip: what this one reads, and what it writes for the next; a trip's number.
Kind = Literal["input", "constant", "scalar", "buffer", "carried", "next", "trip"]


@dataclass(frozen=True)
class Place:
    """Memory that holds a tensor."""

    kind: Kind
    index: int


@dataclass(frozen=True)
class Tensor:
    """A tensor that a kernel reads or writes; several may be views of one place.

    Attributes:
        place: where it lies, from its first byte on.
        shape, dtype: what it is; the dtype is TVM's name of it (``float8_e4m3fn``).
        nbytes: its size.
    """

    place: Place
    shape: tuple[int, ...]
    dtype: str
    nbytes: int

    def at(self, place: Place) -> Tensor:
        """The same tensor elsewhere."""
        return replace(self, place=place)


@dataclass(frozen=True)
class Call:
    """A call of a kernel.

    Attributes:
        kernel: its index in :attr:`Plan.kernels`.
        inputs, outputs: what it reads, then what it writes.
    """

    kernel: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Loop:
    """Steps that are run over and over; see :mod:`tvmcomp.loops`.

    Attributes:
        number: which of the plan's loops: the index of its :data:`trip <Kind>`.
        trips: how often it runs at most, int64.
        going: whether it begins, bool.
        most: how often it can run; 0 where only ``trips`` bounds it.
        starts: what each state begins with.
        carried: where the body reads the states.
        body: the steps of a trip.
        states: where the body leaves each state for the next trip: in place ``next`` where a kernel
            writes it there, else it is copied.
        condition: says after a trip whether to go on; None: always.
        rows: what a trip adds to the rows of all trips, and these.
        spare: a place for each state that another state becomes, while states are copied.
    """

    number: int
    trips: Tensor
    going: Tensor
    most: int
    starts: tuple[Tensor, ...]
    carried: tuple[Tensor, ...]
    body: tuple[Step, ...]
    states: tuple[Tensor, ...]
    condition: Tensor | None
    rows: tuple[tuple[Tensor, Tensor], ...]
    spare: Mapping[int, Tensor]

    @property
    def fixed(self) -> bool:
        """It runs ``most`` times, whatever the data."""
        return self.condition is None and self.most > 0


Step: TypeAlias = Call | Loop


@dataclass(frozen=True)
class Plan:
    """A whole inference.

    Attributes:
        kernels: the kernels' names in the module, each once, in the order of their first calls.
        inputs, constants: the tensors that the network is given.
        scalars: numbers that are part of the code.
        buffers: bytes of each buffer.
        carried: bytes of each place that a loop carries, and whether it has a ``next``.
        loops: how many there are.
        steps: in order.
        outputs: where each output is after the last step.
    """

    kernels: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    scalars: tuple[np.ndarray, ...]
    buffers: tuple[int, ...]
    carried: tuple[tuple[int, bool], ...]
    loops: int
    steps: tuple[Step, ...]
    outputs: tuple[Tensor, ...]


def moved(steps: Iterable[Step], places: Mapping[Place, Place]) -> tuple[Step, ...]:
    """``steps`` with some places in the place of others."""

    def at(tensor: Tensor) -> Tensor:
        return tensor.at(places.get(tensor.place, tensor.place))

    def all_at(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
        return tuple(map(at, tensors))

    def step_at(step: Step) -> Step:
        if isinstance(step, Call):
            return Call(step.kernel, all_at(step.inputs), all_at(step.outputs))
        return replace(
            step,
            trips=at(step.trips),
            going=at(step.going),
            starts=all_at(step.starts),
            body=tuple(map(step_at, step.body)),
            states=all_at(step.states),
            condition=None if step.condition is None else at(step.condition),
            rows=tuple((at(row), at(rows)) for row, rows in step.rows),
        )

    return tuple(map(step_at, steps))


def with_constants(plans: Sequence[Plan], places: Sequence[Sequence[int]]) -> list[Plan]:
    """``plans`` with one table of constants, that all of them take.

    Args:
        plans: of a network's shapes, each with constants of its own.
        places: for each plan, where in the table each of its constants is.
    """
    table: dict[int, Tensor] = {}
    for plan, own in zip(plans, places, strict=True):
        for constant, place in zip(plan.constants, own, strict=True):
            table[place] = constant.at(Place("constant", place))
    constants = tuple(table[place] for place in sorted(table))
    found = []
    for plan, own in zip(plans, places, strict=True):
        new = {Place("constant", i): Place("constant", place) for i, place in enumerate(own)}
        outputs = tuple(output.at(new.get(output.place, output.place)) for output in plan.outputs)
        steps = moved(plan.steps, new)
        found.append(replace(plan, constants=constants, steps=steps, outputs=outputs))
    return found
