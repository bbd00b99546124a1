"""The fingerprint of what runs a target's code on this machine: its CPU, or its GPU."""

from __future__ import annotations

from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.fingerprint import Fingerprint, local_fingerprint
from tvmcomp.targets.gpu_fingerprint import gpu_fingerprint


def device_fingerprint(target: TargetDescription) -> Fingerprint:
    """The fingerprint of this machine's device for ``target``.

    Raises:
        TargetError: it is a GPU, and there is none.
    """
    return gpu_fingerprint() if target.family == "cuda" else local_fingerprint()
