"""The options of the techniques of compression, made of the structs that declare them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from msgspec import inspect

from tvmcomp.compress.technique import Technique, all_techniques

F = TypeVar("F", bound=Callable[..., Any])


def technique_options(command: F) -> F:
    """Add the options of all techniques; one that several have is there once."""
    offered = {
        name: kind
        for kind in reversed(all_techniques().values())
        for name in reversed(dict.fromkeys((*kind.on_command_line,)))
    }
    for name, kind in offered.items():
        command = _option(kind, name)(command)
    return command


def _option(kind: type[Technique], name: str) -> Callable[[F], F]:
    spelled = "--" + name.replace("_", "-")
    info = inspect.type_info(kind.Options)
    assert isinstance(info, inspect.StructType)
    fields = {field.name: field.type for field in info.fields}
    if name not in fields:
        return click.option(spelled, name, is_flag=True, help=kind.summary)
    type_, help_text = _plain(fields[name])
    if isinstance(type_, inspect.VarTupleType):
        return click.option(spelled, name, multiple=True, metavar="PATTERN", help=help_text)
    return click.option(spelled, name, type=_click_type(type_), help=help_text)


def _click_type(type_: Any) -> Any:
    if isinstance(type_, inspect.LiteralType):
        return click.Choice([str(value) for value in type_.values])
    if isinstance(type_, inspect.StrType):
        return click.STRING
    range_: Any = click.IntRange if isinstance(type_, inspect.IntType) else click.FloatRange
    low = type_.ge if type_.ge is not None else type_.gt
    high = type_.le if type_.le is not None else type_.lt
    opened = {"min_open": type_.gt is not None, "max_open": type_.lt is not None}
    return range_(low, high, **opened)


def _plain(type_: Any) -> tuple[Any, str]:
    """A field's type without None and descriptions, and the description."""
    help_text = ""
    while isinstance(type_, inspect.UnionType | inspect.Metadata):
        if isinstance(type_, inspect.Metadata):
            help_text = (type_.extra_json_schema or {}).get("description", help_text)
            type_ = type_.type
        else:
            (type_,) = [each for each in type_.types if not isinstance(each, inspect.NoneType)]
    return type_, help_text
