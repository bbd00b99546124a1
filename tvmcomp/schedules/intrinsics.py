"""Our tensor intrinsics by name: a trace names them, and none may be registered yet."""

from __future__ import annotations

import re
from collections.abc import Callable

from tvmcomp.schedules.arm import intrinsics as arm
from tvmcomp.schedules.arm.columns import sdot_columns
from tvmcomp.schedules.arm.smmla import smmla
from tvmcomp.schedules.x86 import intrinsics as x86
from tvmcomp.schedules.x86.columns import vpdpbusd_columns
from tvmcomp.schedules.x86.row_pairs import vpmaddwd_columns

#: What registers them. The numbers that it takes end the intrinsic's name.
_REGISTER: dict[str, Callable[..., str]] = {
    "tvmcomp.arm.sdot": arm.sdot,
    "tvmcomp.arm.sadalp": arm.sadalp,
    "tvmcomp.arm.vmlal": arm.vmlal,
    "tvmcomp.arm.bfdot": arm.bfdot,
    "tvmcomp.arm.smmla": smmla,
    "tvmcomp.arm.sdot_columns": sdot_columns,
    "tvmcomp.x86.vpdpbusd": x86.vpdpbusd,
    "tvmcomp.x86.vpmaddwd": x86.vpmaddwd,
    "tvmcomp.x86.vpmaddwd_words": x86.vpmaddwd_words,
    "tvmcomp.x86.vdpbf16ps": x86.vdpbf16ps,
    "tvmcomp.x86.vpdpbusd_columns": vpdpbusd_columns,
    "tvmcomp.x86.vpmaddwd_columns": vpmaddwd_columns,
}
# Names come from logs: a number of more digits would only take memory.
_NAME = re.compile(r"(.+?)((?:_\d{1,2})*)")


def register_named(name: str) -> None:
    """Register the tensor intrinsic ``name``; a name that is none of ours is left alone.

    Raises:
        Exception: whatever comes of numbers that no schedule of ours uses.
    """
    found = _NAME.fullmatch(name)
    if found and found[1] in _REGISTER:
        _REGISTER[found[1]](*map(int, found[2].split("_")[1:]))
