"""The ``cuda`` target: the first NVIDIA GPU of this machine, as its driver describes it."""

from __future__ import annotations

import ctypes
from typing import Any

import msgspec

from tvmcomp.errors import TargetError
from tvmcomp.targets import host
from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.gpu_description import Gpu

#: Attribute of TVM's target -> ``CUdevice_attribute`` of the driver's ``cuda.h``.
_ATTRIBUTES = {
    "max_threads_per_block": 1,
    "max_shared_memory_per_block": 8,
    "thread_warp_size": 10,
    "registers_per_block": 12,
    "l2_cache_size_bytes": 38,
}
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
_MULTIPROCESSORS, _CLOCK_KHZ, _MEMORY_CLOCK_KHZ, _MEMORY_BUS_BITS = 16, 13, 36, 37


def detect_cuda() -> TargetDescription:
    """Describe this machine's first NVIDIA GPU, with this machine's CPU as its host.

    The driver's library is asked and not ``nvidia-smi``, which a Jetson and many containers lack.

    Raises:
        TargetError: there is no driver or no GPU.
    """
    driver, device = cuda_driver(), ctypes.c_int()
    if driver.cuDeviceGet(ctypes.byref(device), 0) != 0:
        raise _no_gpu("NVIDIA's driver finds no GPU")

    def attribute(number: int) -> int:
        value = ctypes.c_int()
        if driver.cuDeviceGetAttribute(ctypes.byref(value), number, device) != 0:
            raise _no_gpu(f"NVIDIA's driver does not tell attribute {number} of the GPU")
        return value.value

    def figure(number: int) -> int:
        value = ctypes.c_int()
        told = driver.cuDeviceGetAttribute(ctypes.byref(value), number, device) == 0
        return max(0, value.value) if told else 0

    name = ctypes.create_string_buffer(256)
    driver.cuDeviceGetName(name, len(name), device)
    major, minor = attribute(_CAPABILITY_MAJOR), attribute(_CAPABILITY_MINOR)
    capability = 10 * major + minor
    extra = {key: attribute(number) for key, number in _ATTRIBUTES.items()}
    return msgspec.structs.replace(
        host.detect(),
        name="cuda",
        description=f"this machine's GPU ({name.value.decode(errors='replace')})",
        family="cuda",
        dot_product="dp4a" if capability >= 61 else "generic",
        float16=capability >= 60,
        bfloat16=capability >= 80,
        cuda_arch=f"sm_{capability}",
        extra={**extra, "max_num_threads": extra["max_threads_per_block"]},
        gpu=Gpu(
            multiprocessors=max(1, figure(_MULTIPROCESSORS)),
            clock_mhz=figure(_CLOCK_KHZ) / 1e3,
            # Two transfers a cycle on every line of the bus.
            memory_gb_s=2 * figure(_MEMORY_CLOCK_KHZ) * figure(_MEMORY_BUS_BITS) / 8e6,
        ),
    )


def cuda_driver() -> Any:
    """NVIDIA's driver library, ready to be asked.

    Raises:
        TargetError: it is not here, or finds no GPU.
    """
    try:
        driver: Any = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise _no_gpu("NVIDIA's driver library, libcuda.so.1, is not on this machine") from None
    if driver.cuInit(0) != 0:
        raise _no_gpu("NVIDIA's driver finds no GPU")
    return driver


def _no_gpu(what: str) -> TargetError:
    return TargetError(
        what,
        where="target cuda",
        hint="To build for a GPU of another machine, name it: --target h100, or your own TOML.",
    )
