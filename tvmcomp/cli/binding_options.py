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
        help="Bind an input's shape: x=1,3,224,224; repeatable. `build` takes several of one "
        "input; the k-th of all inputs go together.",
    ),
    "dims": click.option(
        "--dim",
        "dims",
        multiple=True,
        metavar="NAME=SIZE",
        help="Bind a named dimension of inputs: batch=1; repeatable; batch=1,8 for `build`.",
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
        "shapes": parse_shapes,
        "dims": _parse_dims,
        "fixed": parse_fixed,
        "signature": lambda signature: signature,
    }
    return {name: parse(options[name]) for name, parse in parsers.items() if name in options}


def parse_shapes(texts: tuple[str, ...]) -> dict[str, Any]:
    """Parse ``--shape x=1,3,224,224`` options into ``{"x": (1, 3, 224, 224)}``; several shapes of
    one input become a list.

    Raises:
        click.BadParameter: an option is not of that form.
    """
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for text in texts:
        name, equals, dims = text.rpartition("=")
        try:
            if not equals or not name:
                raise ValueError
            shape = tuple(int(dim) for dim in dims.split(",") if dim.strip())
        except ValueError:
            raise click.BadParameter(
                f"{text!r} is not NAME=DIM,DIM,…; an example: --shape x=1,3,224,224"
            ) from None
        if any(dim < 0 for dim in shape):
            raise click.BadParameter(f"{text!r}: no dimension may be below 0")
        shapes.setdefault(name, []).append(shape)
    return {name: each[0] if len(each) == 1 else each for name, each in shapes.items()}


def _parse_dims(texts: tuple[str, ...]) -> dict[str, Any]:
    """``--dim batch=1`` as ``{"batch": 1}``, ``--dim batch=1,8`` as ``{"batch": [1, 8]}``."""
    dims: dict[str, list[int]] = {}
    for text in texts:
        name, equals, given = text.rpartition("=")
        sizes = [size.strip() for size in given.split(",")]
        wrong = [size for size in sizes if not size.isdecimal() or int(size) < 1]
        if not equals or not name or wrong:
            raise click.BadParameter(f"{text!r} is not NAME=SIZE; an example: --dim batch=1")
        dims[name] = [int(size) for size in sizes]
    return {name: each[0] if len(each) == 1 else each for name, each in dims.items()}


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
