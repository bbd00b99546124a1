"""What a measured time depends on besides the code: the fingerprint of the device."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from tvmcomp.targets.features import host_features

_Text = Annotated[str, Meta(max_length=200)]
#: What times depend on: the CPU, its features, and the number of cores.
DeviceModel = tuple[str, tuple[str, ...], int]


class Fingerprint(msgspec.Struct, frozen=True):
    """A device; "" and 0 where it does not tell. Of a GPU:
    :func:`tvmcomp.targets.gpu_fingerprint.gpu_fingerprint`.

    Attributes:
        cpu: the CPU's model.
        features: LLVM's names of its features that compiled code may use, sorted.
        cores: logical processors.
        governor: frequency governor of the first core.
        kernel: release of the operating system's kernel.
    """

    cpu: _Text
    features: tuple[_Text, ...] = ()
    cores: int = 0
    governor: _Text = ""
    kernel: _Text = ""

    @property
    def model(self) -> DeviceModel:
        """The same for devices whose times can be compared."""
        return self.cpu, self.features, self.cores

    def same_model(self, other: Fingerprint) -> bool:
        """Whether times of one device hold for the other."""
        return self.model == other.model


def local_fingerprint(root: Path = Path("/")) -> Fingerprint:
    """The fingerprint of this machine.

    Args:
        root: where ``proc`` and ``sys`` are found; tests give another one.
    """
    governor = _read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return Fingerprint(
        cpu=cpu_model(_read(root / "proc/cpuinfo")) or platform.machine(),
        features=tuple(sorted(host_features(root))),
        cores=os.cpu_count() or 0,
        governor=governor.strip()[:200],
        kernel=platform.release(),
    )


def cpu_model(cpuinfo: str) -> str:
    """The CPU's model by the text of ``/proc/cpuinfo``; "" where that does not tell."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    model = fields.get("model name") or fields.get("Model") or fields.get("Hardware") or ""
    if "CPU part" in fields:  # ARM: the model line, if any, names the board and not the core
        model = f"{model} {fields.get('CPU implementer', '?')}/{fields['CPU part']}".strip()
    return model[:200]


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
