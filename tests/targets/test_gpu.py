"""Detection of a GPU, against a driver library that is not NVIDIA's."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

from tvmcomp.errors import TargetError
from tvmcomp.targets import gpu, gpu_fingerprint, host
from tvmcomp.tvm_import import tvm

ORIN = {
    **{1: 1024, 8: 49152, 10: 32, 12: 65536, 38: 4194304, 75: 8, 76: 7},
    **{16: 16, 13: 1300000, 36: 3200000, 37: 256},
}


class Driver:
    """Answers like libcuda for one GPU, or for none."""

    def __init__(self, attributes: dict[int, int] | None) -> None:
        self.attributes = attributes

    def cuInit(self, _flags: int) -> int:
        return 0 if self.attributes else 100  # CUDA_ERROR_NO_DEVICE

    def cuDeviceGet(self, device: Any, _ordinal: int) -> int:
        device._obj.value = 0
        return 0

    def cuDeviceGetAttribute(self, value: Any, number: int, _device: Any) -> int:
        assert self.attributes is not None
        value._obj.value = self.attributes[number]
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = 13000
        return 0

    def cuDeviceGetName(self, name: Any, _size: int, _device: Any) -> int:
        name.value = b"Orin"
        return 0


def use(monkeypatch: pytest.MonkeyPatch, driver: Driver | None) -> None:
    """Let libcuda be `driver`; None is a machine without one."""
    load = ctypes.CDLL

    def cdll(name: str | None) -> Any:
        if name != "libcuda.so.1":
            return load(name)
        if driver is None:
            raise OSError("cannot open shared object file")
        return driver

    monkeypatch.setattr(ctypes, "CDLL", cdll)


def test_a_gpu_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Driver(ORIN))
    target = gpu.detect_cuda()
    assert (target.name, target.family, target.cuda_arch) == ("cuda", "cuda", "sm_87")
    assert (target.dot_product, target.float16, target.bfloat16) == ("dp4a", True, True)
    assert target.extra["l2_cache_size_bytes"] == 4194304
    assert "Orin" in target.description
    assert (target.capability, target.gpu.multiprocessors, target.gpu.clock_mhz) == (87, 16, 1300)
    assert target.gpu.memory_gb_s == pytest.approx(204.8)
    described = tvm.target.Target(target.tvm_target_dict())
    assert described.attrs["arch"] == "sm_87"
    assert target.host_target_dict() == host.detect().host_target_dict()


def test_the_fingerprint_of_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use(monkeypatch, Driver(ORIN))
    monkeypatch.setattr(gpu_fingerprint, "_clocks", lambda: "")
    found = gpu_fingerprint.gpu_fingerprint(tmp_path)
    assert (found.cpu, found.features, found.cores) == ("Orin", ("sm_87",), 16)
    assert found.governor == "at most 1300 MHz"
    assert found.kernel.startswith("CUDA 13.0, ")
    version = tmp_path / "sys/module/nvidia/version"
    version.parent.mkdir(parents=True)
    version.write_text("580.65.06\n")
    monkeypatch.setattr(gpu_fingerprint, "_clocks", lambda: "graphics 1300 MHz")
    found = gpu_fingerprint.gpu_fingerprint(tmp_path)
    assert found.governor == "graphics 1300 MHz"
    assert found.kernel.startswith("driver 580.65.06, CUDA 13.0, ")


def test_an_old_gpu_has_no_integer_dot_product(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Driver({**ORIN, 75: 6, 76: 0}))
    target = gpu.detect_cuda()
    assert (target.dot_product, target.float16, target.bfloat16) == ("generic", True, False)


@pytest.mark.parametrize(
    ("driver", "complaint"), [(None, "libcuda"), (Driver(None), "finds no GPU")]
)
def test_no_gpu_is_an_error(
    monkeypatch: pytest.MonkeyPatch, driver: Driver | None, complaint: str
) -> None:
    use(monkeypatch, driver)
    with pytest.raises(TargetError, match=complaint) as error:
        gpu.detect_cuda()
    assert error.value.hint and "h100" in error.value.hint
