"""What people give the public functions, as the rest of the package takes it, or a clear error.

What is plainly meant is accepted: another case, numpy's integers, bytes for a path, one text where
several are asked for.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tvmcomp.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Quant = Literal["int8", "dynamic", "fp16", "bf16"]

#: Which formats operators run in: the fastest that the guard allows, by times; the same by what is
#: known without measuring; or whatever is asked for, fast or not.
Formats = Literal["fastest", "unmeasured", "asked"]
FORMATS: tuple[Formats, ...] = ("fastest", "unmeasured", "asked")
#: Where nothing is said; tests of integer kernels say ``asked`` here.
DEFAULT_FORMATS: Formats = "fastest"

#: What a number format is also called.
_FORMATS: dict[str, Quant | None] = {
    "none": None, "float32": None, "fp32": None, "int8": "int8", "fp16": "fp16", "float16": "fp16",
    "bf16": "bf16", "bfloat16": "bf16", "dynamic": "dynamic",
}  # fmt: skip

#: Of durations, in seconds.
_UNITS = {"s": 1, "m": 60, "h": 3600}


def number_format(quant: Any) -> Quant | None:
    """``quant`` as one of ``int8``, ``dynamic``, ``fp16``, ``bf16``, or None for float32.

    Raises:
        ConfigError: it is none of them.
    """
    if quant is None:
        return None
    if isinstance(quant, str) and quant.strip().lower() in _FORMATS:
        return _FORMATS[quant.strip().lower()]
    raise ConfigError(
        f"quant is {quant!r}; there are 'int8', 'dynamic', 'fp16', 'bf16', and None for float32"
    )


def formats(value: Any) -> Formats:
    """``value`` as one of :data:`FORMATS`; None as the default.

    Raises:
        ConfigError: it is none of them.
    """
    if value is None:
        return DEFAULT_FORMATS
    for known in FORMATS:
        if isinstance(value, str) and value.strip().lower() == known:
            return known
    raise ConfigError(f"formats is {value!r}; there are {', '.join(map(repr, FORMATS))}")


def path(value: Any, what: str) -> Path:
    """A path: text, bytes or an object that is one.

    Raises:
        ConfigError: it is something else, or empty.
    """
    if not isinstance(value, str | bytes | os.PathLike):
        raise ConfigError(f"{what} is {_of_type(value)}, not a path")
    text = os.fsdecode(value)
    if not text or "\0" in text:
        raise ConfigError(f"{what} is {text!r}, which names no file")
    return Path(text)


def integer(value: Any, what: str, least: int | None = None, most: int = 2**63 - 1) -> int:
    """A whole number, of Python or numpy, of at least ``least`` and at most ``most``.

    Raises:
        ConfigError: it is none, or not within them.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ConfigError(f"{what} is {_shown(value)}, not a whole number")
    try:
        number = operator.index(value)
    except TypeError:
        raise ConfigError(f"{what} is {_shown(value)}, not a whole number") from None
    if least is not None and number < least:
        raise ConfigError(f"{what} is {number}; it must be at least {least}")
    if number > most:
        raise ConfigError(f"{what} is {number}; it may be at most {most}")
    return number


def seconds(value: Any, what: str) -> float:
    """A time above 0.

    Raises:
        ConfigError: it is no such number.
    """
    try:
        number = float(value) if not isinstance(value, bool | str | bytes) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise ConfigError(f"{what} is {_shown(value)}, not a number of seconds above 0")
    return number


def duration(value: Any, what: str) -> float:
    """Seconds above 0: a number, or a text like ``90s``, ``20m`` or ``1.5h``.

    Raises:
        ConfigError: it is no such thing.
    """
    if not isinstance(value, str):
        return seconds(value, what)
    try:
        found = float(value[:-1]) * _UNITS[value[-1:]]
    except (ValueError, KeyError):
        found = 0.0
    if not 0 < found < math.inf:
        raise ConfigError(f"{what} {value!r} is no time; write 90s, 20m or 1.5h")
    return found


def text(value: Any, what: str) -> str:
    """A text that is not empty.

    Raises:
        ConfigError: it is no text, or empty.
    """
    if not isinstance(value, str):
        raise ConfigError(f"{what} is {_of_type(value)}, not a text")
    if not value.strip():
        raise ConfigError(f"{what} is empty")
    return value


def texts(values: Any, what: str) -> tuple[str, ...]:
    """Several texts; one text alone is one of them.

    Raises:
        ConfigError: one is no text.
    """
    if isinstance(values, str):
        values = (values,)
    if isinstance(values, Mapping | bytes) or not hasattr(values, "__iter__"):
        raise ConfigError(f"{what} is {_of_type(values)}, not a list of texts")
    return tuple(text(value, what) for value in values)


def shapes(values: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of inputs, by name.

    Raises:
        ConfigError: a shape is no sequence of whole numbers.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"shapes is {_of_type(values)}, not a dict",
            hint="Give {'x': (1, 3, 224, 224)}, by the inputs' names.",
        )
    return {text(name, "the name of an input"): _shape(name, s) for name, s in values.items()}


def dims(values: Any) -> dict[str, int]:
    """Sizes of dimensions, by name.

    Raises:
        ConfigError: a size is no whole number above 0.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"dims is {_of_type(values)}, not a dict",
            hint="Give {'batch': 1, 'seq': 128}, by the dimensions' names.",
        )
    return {
        text(name, "the name of a dimension"): integer(size, f"dimension {name!r}", 1)
        for name, size in values.items()
    }


def fixed(values: Any) -> dict[str, NDArray]:
    """Values of inputs, by name.

    Raises:
        ConfigError: a value is no array of numbers.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"fixed is {_of_type(values)}, not a dict",
            hint="Give {'sr': 16000}, by the inputs' names.",
        )
    import numpy as np  # late: `--help` need not wait for it

    found = {}
    for name, value in values.items():
        try:
            array = np.asarray(value)
        except ValueError:  # rows of unequal lengths
            array = np.asarray(None)
        if array.dtype.kind not in "biuf":
            raise ConfigError(f"the fixed value of {name!r} is not made of numbers")
        found[text(name, "the name of an input")] = array
    return found


def _shape(name: str, sizes: Any) -> tuple[int, ...]:
    if isinstance(sizes, str | bytes | Mapping) or not hasattr(sizes, "__iter__"):
        raise ConfigError(
            f"the shape of input {name!r} is {_shown(sizes)}, not a tuple of whole numbers"
        )
    sizes = list(sizes)
    if sizes and all(isinstance(size, list | tuple) for size in sizes):
        raise ConfigError(
            f"input {name!r} has {len(sizes)} shapes, where one is taken",
            hint="`build` takes several; give one at a time here.",
        )
    return tuple(integer(size, f"a size in the shape of input {name!r}") for size in sizes)


def function(value: Any, what: str) -> Callable[..., Any] | None:
    """Something that can be called, or None.

    Raises:
        ConfigError: it can't be called.
    """
    if value is not None and not callable(value):
        raise ConfigError(f"{what} is {_of_type(value)}, and can't be called")
    return value


def locations(values: Any, what: str) -> tuple[str, ...] | None:
    """Places of tuning records: one or several paths or addresses; None stays None.

    Raises:
        ConfigError: one is neither a text nor a path.
    """
    if values is None:
        return None
    if isinstance(values, str | bytes | os.PathLike):
        values = (values,)
    if not isinstance(values, Sequence):
        raise ConfigError(f"{what} is {_of_type(values)}, not a place or a list of places")
    for value in values:
        if not isinstance(value, str | bytes | os.PathLike):
            raise ConfigError(f"{what} holds {_of_type(value)}, not a folder, file or address")
    return tuple(os.fsdecode(value) for value in values)


def _of_type(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 60 else _of_type(value)
