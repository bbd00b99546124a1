"""Techniques of compression: what one is, and the registry that they join by a decorator.

A technique takes an ONNX graph and gives an ONNX graph. It stands in a file of its own in
``tvmcomp/compress/techniques/``; its options are a struct, whose fields are the keys of a recipe,
the keywords of :func:`tvmcomp.compress` and, where they are offered there, the options of the
command. Nothing here or at the head of such a file imports torch: ``--help`` lists them all.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    import onnx

    from tvmcomp.compress.cost import Compute, OperatorTimes
    from tvmcomp.compress.samples import Parts
    from tvmcomp.progress import Progress


@dataclass(frozen=True)
class Run:
    """What a technique is given beside the network.

    Attributes:
        teacher: the original network, prepared; what the result is compared with.
        parts: the samples, divided: what is fitted on, what decides when to stop.
        seed: of everything that is drawn.
        seconds: that training may take in this step, at most.
        progress: is told of each stage.
        times: what small models take on the target that the network is made for.
        compute: what the finished network's products are computed in.
        max_drop: points that this step may lose: its part of what the run may; see
            :mod:`tvmcomp.compress.allowance`.
        lost: points that a network loses on the watched samples: by the metric that the run is
            judged by, where that needs no labels.
        folder: the step's own, for checkpoints; None keeps none.
        shared: a folder of numbers that hold for every run of the same network, samples and seed;
            None: the step's own.
    """

    teacher: onnx.ModelProto
    parts: Parts
    seed: int
    seconds: float
    progress: Progress
    times: OperatorTimes
    compute: Compute
    max_drop: float
    lost: Callable[[onnx.ModelProto], float]
    folder: Path | None = None
    shared: Path | None = None


@dataclass(frozen=True)
class Applied:
    """What a technique made.

    Attributes:
        model: the network.
        notes: what it left as it was and why, and what else a person should know.
    """

    model: onnx.ModelProto
    notes: tuple[str, ...] = ()


class Suggestion(msgspec.Struct, frozen=True):
    """Options that are worth trying, and why."""

    options: str
    why: str


class Technique(Protocol):
    """One technique with its options.

    Attributes:
        name: what a recipe calls it.
        place: where it stands in a recipe; lower comes first. See :mod:`tvmcomp.compress.recipe`.
        repeats: it may stand in a recipe more than once, and anywhere behind one that changes the
            network: it mends what others did.
        trains: fields of ``Options``: with any of them given it trains, where a step behind it
            mends; its share of the time is as large.
        goals: fields of ``Options`` that each say how far it goes; with none of them given it goes
            as far as ``Run.max_drop`` allows. Without goals it does what its options say.
        chosen_by: the options that choose it on the command line and in Python; one that is no
            field of ``Options`` is a flag.
        summary: what it does, for the help of a flag that chooses it.
        on_command_line: which of those, and of the fields of ``Options``, are options of the
            command, in this order.
        options: an instance of ``Options``.
    """

    name: ClassVar[str]
    place: ClassVar[int]
    repeats: ClassVar[bool]
    trains: ClassVar[tuple[str, ...]]
    goals: ClassVar[tuple[str, ...]]
    chosen_by: ClassVar[tuple[str, ...]]
    summary: ClassVar[str]
    on_command_line: ClassVar[tuple[str, ...]]
    Options: ClassVar[type[msgspec.Struct]]
    options: Any

    def __init__(self, options: Any) -> None: ...

    def refuses(self, model: onnx.ModelProto, run: Run, before: Sequence[Technique]) -> str | None:
        """Why nothing would come of it; None where something would. It is asked before any is done.

        Args:
            model: the original, prepared.
            run: what it would be given.
            before: the steps before it.
        """
        ...

    @classmethod
    def suggests(cls, model: onnx.ModelProto) -> list[Suggestion]:
        """What could be tried with this network; nothing where nothing would come of it."""
        ...

    def apply(self, model: onnx.ModelProto, run: Run) -> Applied:
        """Make a new network of ``model``, which stays as it is.

        Raises:
            TvmcompError: it can't.
        """
        ...


#: Every technique by its name.
TECHNIQUES: dict[str, type[Technique]] = {}

C = TypeVar("C", bound=type[Any])


def technique(
    name: str,
    *,
    place: int,
    repeats: bool = False,
    trains: tuple[str, ...] = (),
    goals: tuple[str, ...] = (),
) -> Callable[[C], C]:
    """Make the decorated class known as the technique ``name``."""

    def decorate(kind: C) -> C:
        known: Any = kind
        known.name, known.place = name, place
        known.repeats, known.trains, known.goals = repeats, trains, goals
        TECHNIQUES[name] = known
        return kind

    return decorate


def is_given(options: msgspec.Struct, names: Sequence[str]) -> bool:
    """Whether any of these fields is other than it is by itself."""
    unset = type(options)()
    return any(getattr(options, name) != getattr(unset, name) for name in names)


def all_techniques() -> dict[str, type[Technique]]:
    """Every technique by its name, in the order of their places."""
    from tvmcomp.compress import techniques

    for module in pkgutil.iter_modules(techniques.__path__):
        importlib.import_module(f"{techniques.__name__}.{module.name}")
    return dict(sorted(TECHNIQUES.items(), key=lambda item: item[1].place))
