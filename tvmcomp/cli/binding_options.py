"""The options that say what a network's open inputs are: the same wherever a model comes in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = {
    "shapes": click.option(
        "--shape",
        "shapes",
        multiple=True,
        metavar="NAME=DIM,…",
        help="Bind an input's shape: x=1,3,224,224; repeatable.",
    ),
    "dims": click.option(
        "--dim",
        "dims",
        multiple=True,
        metavar="NAME=SIZE",
        help="Bind a named dimension of inputs: batch=1; repeatable.",
    ),
    "fixed": click.option(
        "--fix",
        "fixed",
        multiple=True,
        metavar="NAME=VALUE,…",
        help="Make a constant of an input: sr=16000; repeatable.",
    ),
    "signature": click.option(
        "--signature", metavar="NAME", help="Which of a SavedModel's signatures."
    ),
}


def binding_options(*names: str) -> Callable[[F], F]:
    """Add the options called ``names``, or all of them; the command gives what it gets by keyword
    to :func:`binding_arguments`."""

    def add(command: F) -> F:
        for name in reversed(names or tuple(_OPTIONS)):
            command = _OPTIONS[name](command)
        return command

    return add


def binding_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :func:`tvmcomp.build` that the options among ``options`` stand for.

    Raises:
        click.BadParameter: one is malformed.
    """
    parsers: dict[str, Callable[[Any], Any]] = {
        "shapes": _parse_shapes,
        "dims": _parse_dims,
        "fixed": parse_fixed,
        "signature": lambda signature: signature,
    }
    return {name: parse(options[name]) for name, parse in parsers.items() if name in options}


def _parse_shapes(texts: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """``--shape x=1,3,224,224`` as ``{"x": (1, 3, 224, 224)}``."""
    shapes = {}
    for text in texts:
        name, equals, dims = text.rpartition("=")
        try:
            if not equals or not name:
                raise ValueError
            shapes[name] = tuple(int(dim) for dim in dims.split(",") if dim.strip())
        except ValueError:
            raise click.BadParameter(
                f"{text!r} is not NAME=DIM,DIM,…; an example: --shape x=1,3,224,224"
            ) from None
        if any(dim < 0 for dim in shapes[name]):
            raise click.BadParameter(f"{text!r}: no dimension may be below 0")
    return shapes


def _parse_dims(texts: tuple[str, ...]) -> dict[str, int]:
    """``--dim batch=1`` as ``{"batch": 1}``."""
    dims = {}
    for text in texts:
        name, equals, size = text.rpartition("=")
        if not equals or not name or not size.strip().isdecimal() or int(size) < 1:
            raise click.BadParameter(f"{text!r} is not NAME=SIZE; an example: --dim batch=1")
        dims[name] = int(size)
    return dims


def parse_fixed(texts: tuple[str, ...]) -> dict[str, list[int] | list[float]]:
    """Parse ``--fix sr=16000`` options into ``{"sr": [16000]}``.

    Raises:
        click.BadParameter: an option is not of that form.
    """
    fixed: dict[str, list[int] | list[float]] = {}
    for text in texts:
        name, equals, values = text.rpartition("=")
        try:
            if not equals or not name:
                raise ValueError
            fixed[name] = _numbers(values.split(","))
        except ValueError:
            raise click.BadParameter(
                f"{text!r} is not NAME=NUMBER,…; an example: --fix sr=16000"
            ) from None
    return fixed


def _numbers(texts: list[str]) -> list[int] | list[float]:
    try:
        return [int(text) for text in texts]
    except ValueError:
        return [float(text) for text in texts]
