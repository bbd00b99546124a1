"""A network that was built for several shapes: the inputs of a run say which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import InputError
from tvmcomp.model import Signature
from tvmcomp.runtime.inputs import check_array, check_names
from tvmcomp.runtime.program import Program


def by_shape(artifact: Artifact, programs: Sequence[Program]) -> Program:
    """One program of those for each of the artifact's shapes."""
    if len(programs) == 1:
        return programs[0]
    return ProgramByShape(artifact.metadata.signatures, programs)


def signature_of(
    signatures: Sequence[Signature], shapes: Mapping[str, tuple[int, ...]]
) -> Signature:
    """The first of ``signatures`` whose inputs have the shapes, by name, that are given.

    Raises:
        InputError: there is none.
    """
    for signature in signatures:
        own = {spec.name: spec.shape for spec in signature.inputs}
        if shapes.items() <= own.items():
            return signature
    given = ", ".join(f"{name}{list(shape)}" for name, shape in shapes.items())
    raise _no_such_shape(given, signatures)


class ProgramByShape:
    """The :class:`~tvmcomp.runtime.program.Program` of several shapes: one for each.

    Args:
        signatures: the shapes; those of the inputs differ.
        programs: a program for each.
    """

    def __init__(self, signatures: Sequence[Signature], programs: Sequence[Program]) -> None:
        self.threads = programs[0].threads
        self._signatures = signatures
        self._names = [spec.name for spec in signatures[0].inputs]
        self._programs = {
            tuple(spec.shape for spec in signature.inputs): program
            for signature, program in zip(signatures, programs, strict=True)
        }
        self._bound = programs[0]

    def bind(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Check ``inputs`` and make them those of what follows, in the program of their shape."""
        chosen = self._of(inputs)
        chosen.bind(inputs)
        self._bound = chosen

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once on ``inputs``."""
        chosen = self._of(inputs)
        outputs = chosen.run(inputs)
        self._bound = chosen
        return outputs

    def time(self, runs: int) -> list[float]:
        """Seconds of each of ``runs`` runs on the inputs bound last."""
        return self._bound.time(runs)

    def profile(self, runs: int) -> dict[str, list[float]]:
        """Seconds of each call of each kernel."""
        return self._bound.profile(runs)

    def close(self) -> None:
        """Let go of everything."""
        for program in self._programs.values():
            program.close()

    def _of(self, inputs: Mapping[str, np.ndarray]) -> Program:
        try:
            return self._programs[tuple(inputs[name].shape for name in self._names)]
        except (KeyError, IndexError, TypeError, AttributeError):
            raise self._refusal(inputs) from None

    def _refusal(self, inputs: Mapping[str, np.ndarray]) -> InputError:
        """What is wrong with inputs that fit no shape."""
        specs = self._signatures[0].inputs
        check_names(inputs, specs)
        for spec in specs:
            if not isinstance(inputs[spec.name], np.ndarray):
                check_array(inputs[spec.name], spec)
        given = ", ".join(f"{name}{list(inputs[name].shape)}" for name in self._names)
        return _no_such_shape(given, self._signatures)


def _no_such_shape(given: str, signatures: Sequence[Signature]) -> InputError:
    return InputError(
        f"the network was not built for the shape {given}",
        hint=f"It was built for {' or '.join(each.shapes_text for each in signatures)}.",
    )
