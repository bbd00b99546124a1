"""Whether a machine can run code for a target, and what it lacks."""

from __future__ import annotations

import platform

import msgspec
import pytest

from tvmcomp import targets
from tvmcomp.errors import TargetError
from tvmcomp.targets import features as cpu_features
from tvmcomp.targets import gpu as gpu_driver


@pytest.fixture
def cascade_lake(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with the features of Cascade Lake."""
    features = frozenset(targets.load("cascadelake").features)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(cpu_features, "host_features", lambda: features)


def test_this_machine_runs_its_own_code() -> None:
    assert targets.runs_here(targets.detect()) is None


@pytest.mark.usefixtures("cascade_lake")
@pytest.mark.parametrize(("libc", "runs"), [("glibc", "x86-64-v3"), ("", "x86-64-v3-musl")])
def test_another_c_library_is_named(monkeypatch: pytest.MonkeyPatch, libc: str, runs: str) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))
    for name in ("x86-64-v3", "x86-64-v3-musl"):
        reason = targets.runs_here(targets.load(name))
        if name == runs:
            assert reason is None
        else:
            assert reason is not None
            assert "musl" in reason
            assert "glibc" in reason


@pytest.mark.usefixtures("cascade_lake")
@pytest.mark.parametrize("name", ["x86-64-v2", "x86-64-v3", "x86-64-v4", "cascadelake"])
def test_a_lower_level_runs(name: str) -> None:
    assert targets.runs_here(targets.load(name)) is None


@pytest.mark.usefixtures("cascade_lake")
def test_a_missing_feature_is_named() -> None:
    reason = targets.runs_here(targets.load("sapphirerapids"))
    assert reason is not None
    assert "amx-int8" in reason
    assert "avx512vnni" not in reason


@pytest.mark.usefixtures("cascade_lake")
@pytest.mark.parametrize("name", ["arm", "rpi5", "rpi2", "armv7", "riscv64", "jetson-orin"])
def test_another_architecture_is_named(name: str) -> None:
    reason = targets.runs_here(targets.load(name))
    assert reason is not None
    assert "x86_64" in reason


@pytest.mark.usefixtures("cascade_lake")
@pytest.mark.parametrize(
    ("built_for", "here", "runs"),
    [
        ("sm_90", "sm_90", True),
        ("sm_80", "sm_86", True),
        ("sm_86", "sm_80", False),
        ("sm_80", "sm_90", True),  # by its PTX
        ("sm_90a", "sm_90", True),
        ("sm_100a", "sm_103", False),
        ("sm_90", "sm_120", True),
        ("sm_90a", "sm_120", False),
    ],
)
def test_a_gpu_of_another_generation_is_named(
    monkeypatch: pytest.MonkeyPatch, built_for: str, here: str, runs: bool
) -> None:
    h100 = targets.load("h100")
    gpu = msgspec.structs.replace(h100, cuda_arch=here)
    monkeypatch.setattr(gpu_driver, "detect_cuda", lambda: gpu)
    reason = targets.runs_here(msgspec.structs.replace(h100, cuda_arch=built_for))
    assert (reason is None) == runs
    assert runs or (reason is not None and here in reason and built_for in reason)


@pytest.mark.usefixtures("cascade_lake")
def test_no_gpu_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_gpu() -> targets.TargetDescription:
        raise TargetError("NVIDIA's driver finds no GPU")

    monkeypatch.setattr(gpu_driver, "detect_cuda", no_gpu)
    assert targets.runs_here(targets.load("h100")) == "NVIDIA's driver finds no GPU"
