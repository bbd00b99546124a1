"""Pieces of C: literals and comments that hold any text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def literal(text: str) -> str:
    """A string of C, in UTF-8."""
    plain = {*range(32, 127)} - {*b'"\\?'}  # ?? begins a trigraph
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in text.encode()) + '"'


def comment(text: str) -> str:
    """``text`` as a part of one line's comment. What shows nothing is shown as a number: compilers
    warn of text that turns the direction of what follows."""
    line = " ".join(text.replace("*/", "* /").replace("/*", "/ *").split())
    return "".join(char if char.isprintable() else f"<U+{ord(char):04X}>" for char in line)


def numbers(value: np.ndarray) -> str:
    """The bytes of an array, as what initializes one of C."""
    return ", ".join(map(str, value.tobytes()))


def shape_name(shape: Sequence[int]) -> str:
    """What the array of a shape is called."""
    return "_".join(map(str, ("shape", *shape)))


def declared_shape(shape: Sequence[int]) -> str:
    """An array with the sizes; C has no empty ones."""
    return f"static const int64_t {shape_name(shape)}[] = {{{', '.join(map(str, shape)) or '0'}}};"
