"""The shapes that a network is built for, as a person gives them: one, or several.

shapes={"x": (1, 3, 224, 224)}                        one
shapes={"x": [(1, 3, 224, 224), (8, 3, 224, 224)]}    two, of which the first is the default
dims={"batch": [1, 8]}                                two, by a dimension's name
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from tvmcomp import arguments
from tvmcomp.errors import ConfigError
from tvmcomp.model import Model, Signature

if TYPE_CHECKING:
    from tvmcomp.targets.description import TargetDescription

#: A shape, or several.
Shapes = tuple[int, ...] | Sequence[tuple[int, ...]]


class ShapeBinding(NamedTuple):
    """One of them: full shapes of inputs, and sizes of named dimensions."""

    shapes: dict[str, tuple[int, ...]]
    dims: dict[str, int]


def shape_bindings(
    shapes: Mapping[str, Shapes] | None, dims: Mapping[str, int | Sequence[int]] | None
) -> list[ShapeBinding]:
    """What several shapes of inputs and several sizes of dimensions stand for.

    The k-th of each go together; what is given once is the same in all.

    Raises:
        ConfigError: one is malformed, or there are not as many of each.
    """
    if not isinstance(shapes or {}, Mapping) or not isinstance(dims or {}, Mapping):
        return [ShapeBinding(arguments.shapes(shapes), arguments.dims(dims))]  # says what is wrong
    all_shapes = {name: _several(shape, of=(list, tuple)) for name, shape in (shapes or {}).items()}
    all_dims = {name: _several(size, of=(int,)) for name, size in (dims or {}).items()}
    counts = {name: len(each) for name, each in (*all_shapes.items(), *all_dims.items())}
    count = max(counts.values(), default=1)
    if not set(counts.values()) <= {1, count}:
        given = ", ".join(f"{n} of {name!r}" for name, n in counts.items() if n > 1)
        raise ConfigError(
            f"there are {given}: not as many of each",
            hint="The k-th shapes of all inputs go together; give one, or as many of each.",
        )

    def kth(each: Mapping[str, list[Any]], k: int) -> dict[str, Any]:
        return {name: values[k % len(values)] for name, values in each.items()}

    return [
        ShapeBinding(arguments.shapes(kth(all_shapes, k)), arguments.dims(kth(all_dims, k)))
        for k in range(count)
    ]


def check_shapes(networks: Sequence[Model], target: TargetDescription) -> None:
    """Raise ConfigError where a network can't be built for all these shapes at once."""
    reason = None
    if target.family == "cuda":
        reason = f"{target.name} is a GPU: a network is built for one shape there"
    if networks[0].states:
        reason = "a network that keeps states from run to run is built for one shape"
    if len(networks) > 1 and reason is not None:
        raise ConfigError(reason, hint="Build an artifact for each shape.")
    for one, other in combinations([network.signature for network in networks], 2):
        if one.inputs == other.inputs:
            raise ConfigError(f"the shape {one.shapes_text} is given twice")


def shape_notes(signatures: Sequence[Signature], shared: int, constants: int) -> list[str]:
    """What the build report says of several shapes.

    Args:
        signatures: of each.
        shared: bytes of weights that all of them read.
        constants: bytes of all weights.
    """
    if len(signatures) == 1:
        return []
    shapes = "; ".join(signature.shapes_text for signature in signatures)
    return [
        f"built for {len(signatures)} shapes: {shapes}; {shared / 2**20:.2f} of "
        f"{constants / 2**20:.2f} MiB of constants serve all of them"
    ]


def _several(value: Any, of: tuple[type, ...]) -> list[Any]:
    """The items of a list of such things; else the value alone."""
    is_list = isinstance(value, list | tuple) and bool(value)
    return list(value) if is_list and all(isinstance(item, of) for item in value) else [value]
