"""What a person says of a network's inputs before it is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Binding:
    """Sizes and values of inputs, by name.

    Attributes:
        shapes: full shapes of inputs.
        dims: sizes of the dimensions that the model has names for.
        fixed: values of inputs that are none any more, but constants.
    """

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)
    fixed: Mapping[str, NDArray] = field(default_factory=dict)
