"""Build networks, and time them on the device."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import onnx

from tvmcomp.progress import Progress
from tvmcomp.search.built_with import build_digest
from tvmcomp.search.network_times import NetworkTimes, network_digest
from tvmcomp.search.recipes import build_network
from tvmcomp.search.timing import Beside, Timed, benched
from tvmcomp.targets.description import TargetDescription


@dataclass(frozen=True)
class Workbench:
    """Where networks are built and timed.

    Attributes:
        target, device: where they are to run.
        shapes: of the inputs.
        log: times of earlier searches; None where times are none of a real device.
        progress: is told of each stage.
    """

    target: TargetDescription
    device: str | None
    shapes: Mapping[str, tuple[int, ...]]
    log: NetworkTimes | None
    progress: Progress

    def timed(
        self, name: str, network: Path, artifact: Path, quant: str | None, beside: Beside | None
    ) -> Timed:
        """Build a network, and time it where no earlier search did.

        Args:
            name: for a person.
            network: the ONNX file.
            artifact: where it is built.
            quant: what ``tvmcomp build`` is given.
            beside: the original; None where this is it.

        Raises:
            TvmcompError: it can't be built, or the device failed.
        """
        model = onnx.load(network)
        if not artifact.exists():  # else it was built ahead, or before a kill
            self.progress.stage(f"building {name}")
            build_network(network, self.target, self.shapes, quant, artifact)
        known = self._known(model, quant)
        if known is not None:
            return msgspec.structs.replace(known, file_bytes=artifact.stat().st_size)
        return self._benched(name, model, artifact, quant, beside)

    def probed(
        self, name: str, model: onnx.ModelProto, folder: Path, beside: Beside, deadline: float
    ) -> Timed | None:
        """Time a network that is built for its time alone; None where it is too late for that.

        Args:
            name: for a person.
            model: it, in the formats that it is built in.
            folder: for its artifact.
            beside: the original.
            deadline: by ``time.monotonic()``.
        """
        known = self._known(model, None)
        if known is not None or time.monotonic() > deadline:
            return known
        self.progress.stage(f"building {name}")
        artifact = folder / "model.tvmc"
        build_network(model, self.target, self.shapes, None, artifact)
        return self._benched(name, model, artifact, None, beside)

    def _benched(
        self,
        name: str,
        model: onnx.ModelProto,
        artifact: Path,
        quant: str | None,
        beside: Beside | None,
    ) -> Timed:
        self.progress.stage(f"timing {name}")
        timed = benched(artifact, self.device, beside)
        if self.log is not None:
            self.log.keep(self._digest(model, quant), timed)
        return timed

    def _known(self, model: onnx.ModelProto, quant: str | None) -> Timed | None:
        return None if self.log is None else self.log.known(self._digest(model, quant))

    def _digest(self, model: onnx.ModelProto, quant: str | None) -> str:
        return network_digest(model, quant, sorted(self.shapes.items()), build_digest())
