"""The table: ONNX's name of an operator -> its rule; what is not in it lets its channels stay."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import TypeVar

from tvmcomp.compress.channels.flow import Rule

RULES: dict[str, Rule] = {}

F = TypeVar("F", bound=Rule)


def rule(*names: str) -> Callable[[F], F]:
    """Enter a function in the table, as the rule of the operators called ``names``."""

    def enter(function: F) -> F:
        for name in names:
            RULES[name] = function
        return function

    return enter


def all_rules() -> dict[str, Rule]:
    """The whole table."""
    from tvmcomp.compress.channels import rules

    for module in pkgutil.iter_modules(rules.__path__):
        importlib.import_module(f"{rules.__name__}.{module.name}")
    return RULES
