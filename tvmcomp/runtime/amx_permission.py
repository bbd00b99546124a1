"""Linux lets a process use AMX's tile registers only after it has asked: once, for all threads."""

from __future__ import annotations

import ctypes
import os

from tvmcomp.errors import DeviceError
from tvmcomp.targets.description import TargetDescription

# From the kernel's asm/prctl.h and asm/fpu/types.h.
_SYS_ARCH_PRCTL = 158
_ARCH_REQ_XCOMP_PERM = 0x1023
_XFEATURE_XTILEDATA = 18


def allow_amx(target: TargetDescription) -> None:
    """Ask for the tile registers if code for ``target`` uses them; call it before loading code.

    Raises:
        DeviceError: the kernel refuses.
    """
    if "amx-tile" in target.features:
        request_amx()


def request_amx() -> None:
    """Ask the kernel to let this process use the tile registers; asking again does nothing.

    Raises:
        DeviceError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA) != 0:
        raise DeviceError(
            "the kernel does not let this process use AMX's tile registers "
            f"({os.strerror(ctypes.get_errno())})",
            where="this machine",
            hint="Linux has them since 5.16; virtual machines and sandboxes may keep them back. "
            "Build for a target without AMX (for example --target cascadelake).",
        )
