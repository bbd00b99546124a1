"""A network in one choice of formats: lowered, then compiled where it is to be timed or kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.codegen.compile import Library, compile_lowered
from tvmcomp.codegen.race import race_on
from tvmcomp.formats.identity import code_hash
from tvmcomp.model import Model
from tvmcomp.passes.lowered import Lowered
from tvmcomp.passes.pipeline import lower
from tvmcomp.quantize.choice import PrecisionChoice
from tvmcomp.targets import TargetDescription
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.used_records import UsedRecords


@dataclass(frozen=True)
class Variant:
    """A network in a choice of formats.

    Attributes:
        format: what it is called: ``int8``, ``float32``, ``mixed``.
        choice: what its operators are in.
        lowered: its scheduled kernels.
        used: the tuning records that scheduled them.
        code: tells its kernels from others.
    """

    format: str
    choice: PrecisionChoice
    lowered: Lowered
    used: UsedRecords
    code: str


@dataclass
class Workshop:
    """Makes variants of one network, and compiles each once at most.

    Attributes:
        network: the imported network.
        target: the device.
        log: tuning records.
        linker: the linker's command line, None for the target's own.
    """

    network: Model
    target: TargetDescription
    log: TuningLog
    linker: str | None = None
    _libraries: dict[str, Library] = field(default_factory=dict)

    def lowered(self, name: str, choice: PrecisionChoice) -> Variant:
        """``choice`` as scheduled kernels, called ``name``."""
        with UsedRecords(self.log, self.target, self.linker) as used:
            race = race_on(self.target)
            lowered = lower(choice.mod, self.target, tuned=used, half=choice.half, race=race)
        return Variant(name, choice, lowered, used, code_hash(lowered))

    def compiled(self, variant: Variant) -> Library | None:
        """Its library, where it was compiled."""
        return self._libraries.get(variant.format)

    def artifact(self, variant: Variant) -> Artifact:
        """It as a file that a session loads."""
        library = self._libraries.get(variant.format)
        if library is None:
            signature = self.network.signature
            library = compile_lowered(
                [variant.lowered], self.target, [signature], linker=self.linker
            )
            self._libraries[variant.format] = library
        return Artifact.create(
            library=library.binary,
            code=library.code,
            constants={f"constant_{i}": array for i, array in enumerate(library.constants)},
            target=self.target,
            signature=self.network.signature,
            source=self.network.source,
            source_digest=self.network.digest,
            unaligned_inputs=library.unaligned_inputs,
            states=self.network.states,
        )
