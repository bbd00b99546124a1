"""Recipes: which techniques, with which options, in which order.

A recipe comes from options (``--bits 4 --distil``), which are put into the order of the techniques'
places, or from a TOML file, which says the order itself:

    [[technique]]
    name = "quantize"
    bits = 4
    operators."Conv_0" = { bits = 8 }

    [[technique]]
    name = "distil"

An order makes sense where 1. no technique stands twice, but for those that mend; 2. the places of
the others rise: what has integer weights can't be pruned any more; 3. what mends stands behind
what it is to mend. Rule 3 is the technique's own to judge, as it depends on what is given.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from tvmcomp import arguments
from tvmcomp.compress.technique import Technique, all_techniques
from tvmcomp.errors import ConfigError
from tvmcomp.quantize.images import Preprocess
from tvmcomp.toml_settings import as_struct, read_toml

#: A TOML file, or what one holds: a step after the other, each a mapping with ``name`` in it.
RecipeSource: TypeAlias = str | bytes | os.PathLike[str] | Sequence[Mapping[str, Any]]

_NAME = "name"


@dataclass(frozen=True)
class Recipe:
    """Steps in the order in which they are done.

    Attributes:
        steps: techniques with their options; empty where nothing is asked for.
        images: how image files become samples.
    """

    steps: tuple[Technique, ...] = ()
    images: Preprocess | None = None

    def described(self) -> list[dict[str, Any]]:
        """The steps as a recipe's file has them, every option spelled out."""
        return [{_NAME: step.name, **msgspec.to_builtins(step.options)} for step in self.steps]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    technique: list[dict[str, Any]] = []
    images: Preprocess | None = None


def recipe_of(source: RecipeSource | None, options: Mapping[str, Any]) -> Recipe:
    """The recipe that a person asks for.

    Args:
        source: a file or a list of steps; None where there are only options.
        options: by the names of the techniques' fields and flags; None and False are not given.

    Raises:
        ConfigError: an option or a file is not right, or the steps make no sense together.
    """
    given = given_options(options)
    if source is None:
        return _from_options(given)
    if isinstance(source, str | bytes | os.PathLike):
        recipe = _read(arguments.path(source, "recipe"))
        if not (recipe.steps or recipe.images or given):
            raise ConfigError(
                "says nothing to do",
                where=str(source),
                hint="Write a [[technique]] into it, or leave the recipe out to see what there is.",
            )
    else:
        recipe = Recipe(_steps(list(source), "the recipe"))
    if given and recipe.steps:
        names = ", ".join(map(_spelled, given))
        raise ConfigError(
            f"a recipe says what is done, and so does {names}",
            hint="Write it into the recipe, or leave the recipe out.",
        )
    return Recipe(_from_options(given).steps or recipe.steps, recipe.images)


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``options`` that a person gave: None, False and no patterns are not given."""
    return {
        name: value
        for name, value in options.items()
        if not (value is None or value is False or (isinstance(value, tuple) and not value))
    }


def _from_options(given: Mapping[str, Any]) -> Recipe:
    """The techniques that the options choose, in the order of their places."""
    used: set[str] = set()
    steps = []
    known = all_techniques()
    for kind in known.values():
        fields = kind.Options.__struct_fields__
        if any(name in given for name in kind.chosen_by):
            for name in set(kind.chosen_by) - {*fields}:
                if given.get(name, True) is not True:
                    raise ConfigError(
                        f"{_spelled(name)} is {given[name]!r}, not True or False",
                        hint=f"What {kind.name} takes beside it: {', '.join(fields)}.",
                    )
            own = {name: value for name, value in given.items() if name in fields}
            used |= {*own, *kind.chosen_by}
            steps.append(kind(as_struct(own, kind.Options, kind.name)))
    for name in given.keys() - used:
        choosing = [
            " or ".join(_spelled(each) for each in kind.chosen_by if each in kind.on_command_line)
            for kind in known.values()
            if name in kind.Options.__struct_fields__
        ]
        if not choosing:
            raise ConfigError(f"there is no option {name!r} of compression")
        raise ConfigError(f"{_spelled(name)} goes with {', or with '.join(choosing)}")
    return Recipe(_checked(steps, "the options"))


def _read(path: Path) -> Recipe:
    where = str(path)
    file = as_struct(read_toml(path), _File, where)
    return Recipe(_steps(file.technique, where), file.images)


def _steps(documents: Sequence[Any], where: str) -> tuple[Technique, ...]:
    known = all_techniques()
    steps = []
    for position, document in enumerate(documents, 1):
        place = f"{where}, technique {position}"
        name = document.get(_NAME) if isinstance(document, Mapping) else None
        if not isinstance(name, str) or name not in known:
            what = "has no name" if name is None else f"there is no technique {name!r}"
            raise ConfigError(what, where=place, hint=f"There are: {', '.join(known)}.")
        options = {key: value for key, value in document.items() if key != _NAME}
        kind = known[name]
        steps.append(kind(as_struct(options, kind.Options, f"{place} ({name})")))
    return _checked(steps, where)


def _checked(steps: Sequence[Technique], where: str) -> tuple[Technique, ...]:
    """``steps``, whose order makes sense (rules 1 and 2)."""
    changing = [step for step in steps if not step.repeats]
    for first, second in pairwise(changing):
        if first.place == second.place:
            raise ConfigError(f"{second.name} stands there twice", where=where)
        if first.place > second.place:
            raise ConfigError(
                f"{second.name} can't come after {first.name}",
                where=where,
                hint=f"Put {second.name} first.",
            )
    return tuple(steps)


def _spelled(name: str) -> str:
    """A field as an option of the command."""
    return "--" + name.replace("_", "-")
