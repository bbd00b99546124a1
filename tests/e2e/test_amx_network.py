"""Whole networks with AMX, every tile instruction done (see tests/schedules/amx_machine.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from networks import NetworkWriter, images, mobile
from schedules.amx_machine import AMX_TARGET, amx

from tvmcomp import frontend, targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.progress import NoProgress
from tvmcomp.quantize import QuantConfig
from tvmcomp.quantize.choice import PrecisionChoice
from tvmcomp.quantize.data import load_samples
from tvmcomp.quantize.precision import choose_precision
from tvmcomp.targets import TargetDescription

VNNI = targets.load("cascadelake")


def residual(path: Path) -> Path:
    """x (1, 3, 28, 28) -> y (1, 40, 14, 14): what residual networks are made of."""
    net = NetworkWriter(1)
    stem = net.op("Relu", net.conv("x", (64, 3), (7, 7), pads=[3] * 4))
    first = net.op("Relu", net.conv(stem, (64, 64), (3, 3), pads=[1] * 4))
    second = net.op("Relu", net.op("Add", stem, net.conv(first, (64, 64), (3, 3), pads=[1] * 4)))
    wide = net.op("Relu", net.conv(second, (128, 64), (1, 1)))
    narrow = net.op("Add", second, net.conv(wide, (64, 128), (1, 1)))
    grouped = net.op("Relu", net.conv(narrow, (64, 8), (3, 3), pads=[1] * 4, group=8))
    half = net.conv(grouped, (40, 64), (3, 3), pads=[1] * 4, strides=[2, 2])
    shortcut = net.conv(narrow, (40, 64), (1, 1), strides=[2, 2])
    net.op("Relu", net.op("Add", half, shortcut), name="y")
    return net.save(path, {"x": (1, 3, 28, 28)}, ["y"])


NETWORKS: dict[str, tuple[Any, str, tuple[int, ...]]] = {
    "residual": (residual, "x", (3, 28, 28)),
    "mobile": (mobile, "image", (3, 32, 32)),
}


def numbers(
    path: Path, quant: Any, name: str, samples: np.ndarray, target: TargetDescription
) -> PrecisionChoice:
    network = frontend.load_model(path, {})
    data = load_samples([{name: sample} for sample in samples], network.signature)
    return choose_precision(network, target, VNNI, quant, data, QuantConfig(), NoProgress(), None)


@pytest.fixture(params=NETWORKS)
def network(request: Any, tmp_path: Path) -> tuple[Path, str, np.ndarray]:
    """A model's path, its input's name, and samples of it."""
    make, name, shape = NETWORKS[request.param]
    return make(tmp_path / "net.onnx"), name, images(4, *shape)[:, None]


def needs(target: TargetDescription) -> None:
    reason = targets.runs_here(target)
    if reason:
        pytest.skip(reason)


def test_integers_are_those_of_vnni(network: tuple[Path, str, np.ndarray]) -> None:
    needs(VNNI)
    path, name, samples = network
    choice = numbers(path, "int8", name, samples, VNNI)
    wanted, _ = run_here(choice.mod, VNNI, [samples[1]])
    with amx() as counts:
        given, _ = run_here(choice.mod, AMX_TARGET, [samples[1]])
    assert not counts or counts["products"] > 0
    for one, other in zip(given, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_bfloat16_is_near_float(network: tuple[Path, str, np.ndarray]) -> None:
    features = tuple(sorted({*AMX_TARGET.features, "avx512bf16"}))
    target = msgspec.structs.replace(AMX_TARGET, features=features)
    needs(msgspec.structs.replace(VNNI, features=(*VNNI.features, "avx512bf16")))
    path, name, samples = network
    exact = numbers(path, None, name, samples, VNNI)
    half = numbers(path, "bf16", name, samples, target)
    wanted, _ = run_here(exact.mod, VNNI, [samples[1]])
    with amx() as counts:
        given, _ = run_here(half.mod, target, [samples[1]], half=half.half)
    assert not counts or counts["products"] > 0
    for one, other in zip(given, wanted, strict=True):
        assert np.abs(one - other).max() < 0.03 * np.ptp(other)
