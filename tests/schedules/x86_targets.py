"""x86 targets by what their kernels are made of; each runs on any x86 machine with AVX2."""

from __future__ import annotations

import msgspec

from tvmcomp import targets
from tvmcomp.targets import TargetDescription


def x86(name: str) -> TargetDescription:
    """`here`, this machine; `generic`, of no more than SSE2; or any target's name."""
    if name == "here":
        return targets.detect()
    if name != "generic":
        return targets.load(name)
    changes = {"vector_bits": 128, "features": (), "cpu": "", "dot_product": "generic"}
    return msgspec.structs.replace(targets.load("x86-64-v3"), **changes)
