"""A form: one of the ways to compute an anchor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvmcomp.schedules.anchor import Widths

#: Emits the call of a form's kernel: (builder, padded data, packed weight, name) -> expression.
Emit = Callable[[Any, Any, Any, str], Any]


@dataclass(frozen=True)
class Form:
    """A way to compute an anchor.

    Attributes:
        widths: the border that it needs around the data.
        weight: packed in the order that its kernel reads.
        emit: emits the call of its kernel.
        free_behind: behind the channels the border may hold anything: what it gives is dropped.
    """

    widths: Widths
    weight: np.ndarray
    emit: Emit
    free_behind: bool = False
