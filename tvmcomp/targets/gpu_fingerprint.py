"""What a measured time on a GPU depends on: its model, clocks, driver and CUDA version."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path
from typing import Any

from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.targets.gpu import cuda_driver, detect_cuda

_GRAPHICS, _MEMORY = 0, 2  # nvmlClockType_t
_NAME_BYTES = 200


def gpu_fingerprint(root: Path = Path("/")) -> Fingerprint:
    """The fingerprint of this machine's first GPU.

    Its model stands where a CPU's does, its architecture where a CPU's features do, and its
    multiprocessors are the cores; the governor's place has the clocks as found, the kernel's the
    driver and the CUDA version that this serves, too.

    Args:
        root: where ``sys`` is found; tests give another one.

    Raises:
        TargetError: there is none.
    """
    target = detect_cuda()
    try:
        driver = (root / "sys/module/nvidia/version").read_text(errors="replace").strip()
    except OSError:  # a Jetson's is a part of its kernel
        driver = ""
    told = [f"driver {driver}"] if driver else []
    told += [f"CUDA {_cuda_version()}", platform.release()]
    return Fingerprint(
        cpu=_name()[:_NAME_BYTES],
        features=(target.cuda_arch,),
        cores=target.gpu.multiprocessors,
        governor=(_clocks() or f"at most {target.gpu.clock_mhz:.0f} MHz")[:_NAME_BYTES],
        kernel=", ".join(told)[:_NAME_BYTES],
    )


def _name() -> str:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    driver = cuda_driver()
    driver.cuDeviceGet(ctypes.byref(device), 0)
    driver.cuDeviceGetName(name, len(name), device)
    return name.value.decode(errors="replace")


def _cuda_version() -> str:
    """The newest CUDA that the driver knows."""
    number = ctypes.c_int()
    cuda_driver().cuDriverGetVersion(ctypes.byref(number))
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def _clocks() -> str:
    """As they are now, by NVIDIA's management library; "" where that does not tell."""
    try:
        nvml: Any = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return ""
    handle, mhz = ctypes.c_void_p(), ctypes.c_uint()
    if nvml.nvmlInit_v2() != 0:
        return ""
    told = []
    if nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)) == 0:
        for what, kind in (("graphics", _GRAPHICS), ("memory", _MEMORY)):
            if nvml.nvmlDeviceGetClockInfo(handle, kind, ctypes.byref(mhz)) == 0:
                told.append(f"{what} {mhz.value} MHz")
    nvml.nvmlShutdown()
    return ", ".join(told)
