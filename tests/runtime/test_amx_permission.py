"""Asking the kernel for AMX's tile registers: once asked for, and a clear error if refused."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from tvmcomp import targets
from tvmcomp.errors import DeviceError
from tvmcomp.runtime import amx_permission, native_library
from tvmcomp.runtime.machine import ThisMachine
from tvmcomp.targets import features as cpu_features

SPR = targets.load("sapphirerapids")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The system calls of a process that the kernel grants everything."""
    calls: list[tuple[int, ...]] = []

    def syscall(*numbers: int) -> int:
        calls.append(numbers)
        return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(syscall=syscall))
    return calls


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that says that the operation is not permitted."""

    def syscall(*_: int) -> int:
        ctypes.set_errno(1)
        return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(syscall=syscall))


def test_the_kernel_is_asked_for_the_tile_data(asked: list[Any]) -> None:
    amx_permission.allow_amx(SPR)
    # arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)
    assert asked == [(158, 0x1023, 18)]


@pytest.mark.parametrize("name", ["cascadelake", "alderlake", "x86-64-v4", "rpi5"])
def test_other_targets_ask_for_nothing(asked: list[Any], name: str) -> None:
    amx_permission.allow_amx(targets.load(name))
    assert asked == []


@pytest.mark.usefixtures("refused")
def test_a_refusal_says_what_to_do() -> None:
    with pytest.raises(DeviceError, match="not permitted") as caught:
        amx_permission.allow_amx(SPR)
    assert "--target cascadelake" in str(caught.value)


@pytest.mark.usefixtures("refused")
def test_nothing_is_loaded_after_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_features, "host_features", lambda: frozenset(SPR.features))
    monkeypatch.setattr(native_library, "_load", lambda *_: pytest.fail("it was loaded"))
    artifact = SimpleNamespace(metadata=SimpleNamespace(target=SPR), library=b"")
    with pytest.raises(DeviceError, match="tile registers"):
        ThisMachine().load(artifact)  # type: ignore[arg-type]


def test_this_machine_answers_itself() -> None:
    """Without a fake: granted where the CPU has AMX, refused where it has not."""
    if "amx-tile" in cpu_features.host_features():
        amx_permission.request_amx()
    else:
        with pytest.raises(DeviceError):
            amx_permission.request_amx()
