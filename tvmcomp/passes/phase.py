"""A phase of the pipeline: passes under one name, in the order in which they run.

What a phase requires of the module that it is given, and ensures of the one that it gives, are
properties (:mod:`tvmcomp.passes.properties`). They cost a walk over ``main`` each and are checked
in every build: what one pass leaves behind is named where it arises, and not where it hurts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tvmcomp.errors import TvmcompError
from tvmcomp.tvm_types import Module

#: A module in, a module out.
Pass = Callable[[Any], Any]
#: What a module must be like: says what is wrong with it, or "".
Property = Callable[[Any], str]
#: Called after each pass with its name and the module: ``--dump`` writes it to a file.
Watch = Callable[[str, Any], None]


class PassError(Exception):
    """A pass failed, or broke what its phase promises: a defect of the compiler's own."""


@dataclass(frozen=True)
class Phase:
    """Passes that are run together.

    Attributes:
        name: of the phase.
        passes: name -> the pass, in order.
        requires: holds before the first of them.
        ensures: holds after the last of them.
    """

    name: str
    passes: Mapping[str, Pass]
    requires: tuple[Property, ...] = ()
    ensures: tuple[Property, ...] = ()

    def run(self, mod: Module, watch: Watch | None = None) -> Module:
        """The module after all passes.

        Raises:
            PassError: names the pass that failed, or the property that does not hold.
            TvmcompError: of a pass, as it is: the fault is the input's.
        """
        self._check("is given", self.requires, mod)
        for name, apply in self.passes.items():
            try:
                mod = apply(mod)
            except (TvmcompError, PassError):
                raise
            except Exception as error:
                first_line = str(error).strip().split("\n")[0]
                reason = f"{type(error).__name__}: {first_line}"
                raise PassError(f"pass {name} of phase {self.name}: {reason}") from error
            if watch is not None:
                watch(name, mod)
        self._check("gives", self.ensures, mod)
        return mod

    def _check(self, when: str, properties: tuple[Property, ...], mod: Module) -> None:
        for holds in properties:
            wrong = holds(mod)
            if wrong:
                raise PassError(
                    f"phase {self.name} {when} a module that is not as it must: {wrong}"
                )
