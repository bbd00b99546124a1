"""Settings in TOML files: read, and made structs of, with errors that name the key and say what is
allowed there."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tvmcomp.errors import ConfigError

S = TypeVar("S", bound=msgspec.Struct)


def read_toml(path: Path) -> dict[str, Any]:
    """The document in ``path``.

    Raises:
        ConfigError: it can't be read, or is no TOML.
    """
    try:
        document: dict[str, Any] = msgspec.toml.decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"can't be read: {error.strerror or error}", where=str(path)) from error
    # ValueError: no UTF-8, a number of thousands of digits; RecursionError: deep nesting.
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ConfigError(f"not valid TOML: {error}", where=str(path)) from error
    return document


def as_struct(value: Any, struct: type[S], where: str) -> S:
    """``value`` as a ``struct``.

    Raises:
        ConfigError: it is not one; names the key below ``where`` and what is allowed there.
    """
    try:
        return msgspec.convert(value, struct)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at ")
        key = place.strip("`").removeprefix("$").removeprefix(".")
        raise ConfigError(
            what.replace(" | null", ""),  # TOML has no null
            where=f"{where}, {key}" if key else where,
            hint=_allowed(what, struct, key),
        ) from error


def _allowed(what: str, struct: type[msgspec.Struct], key: str) -> str | None:
    """What may stand at the dotted ``key`` of a ``struct``, for an error that says ``what``."""
    kind: Any = struct
    for part in key.split(".") if key else ():
        if not hasattr(_members(kind)[0], "__struct_fields__"):
            return None  # inside a dict, whose keys are anybody's
        kind = typing.get_type_hints(_members(kind)[0])[part.partition("[")[0]]
    members = _members(kind)
    if " field " in what and hasattr(members[0], "__struct_fields__"):  # an unknown or missing one
        return f"Allowed keys: {', '.join(members[0].__struct_fields__)}."
    if " enum " in what:
        return f"Allowed values: {', '.join(map(repr, typing.get_args(members[0])))}."
    return None


def _members(kind: Any) -> tuple[Any, ...]:
    """The members of ``T | None`` without the None; of another type, the type itself."""
    if type(None) not in typing.get_args(kind):
        return (kind,)
    return tuple(member for member in typing.get_args(kind) if member is not type(None))
