"""Winograd's convolution: against float64, over odd sizes, epilogues, tiles and both divisions."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from schedules.design_points import every_kernel

from tvmcomp import targets
from tvmcomp.schedules import apply_schedule, design_space
from tvmcomp.schedules.anchor import Anchor, Window
from tvmcomp.schedules.conv import winograd, winograd_tiles
from tvmcomp.schedules.dot import float_kernel, int8_kernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

te = tvm.te
V3, V4 = targets.load("x86-64-v3"), targets.load("x86-64-v4")
TILES = {"2x2": winograd_tiles.TWO, "4x4": winograd_tiles.FOUR}

few = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@dataclasses.dataclass(frozen=True)
class Conv:
    """A 3x3 convolution and what follows it."""

    shape: tuple[int, int, int, int]
    out_channels: int
    padding: tuple[tuple[int, int], tuple[int, int]] = ((1, 1), (1, 1))
    bias: bool = False
    residual: bool = False

    @property
    def window(self) -> Window:
        return Window((3, 3), (1, 1), (1, 1), self.padding)

    @property
    def anchor(self) -> Anchor:
        return Anchor(self.shape, self.window, self.out_channels)

    @property
    def output(self) -> tuple[int, ...]:
        return (self.shape[0], *self.window.output(self.shape[1:3]), self.out_channels)


@st.composite
def convolutions(draw: st.DrawFn) -> Conv:
    pad = st.tuples(st.integers(0, 2), st.integers(0, 2))
    shape = (
        draw(st.integers(1, 2)),
        draw(st.integers(3, 19)),
        draw(st.integers(3, 19)),
        draw(st.integers(1, 40)),
    )
    padding = (draw(pad), draw(pad))
    return Conv(
        shape, 4 * draw(st.integers(1, 12)), padding, draw(st.booleans()), draw(st.booleans())
    )


def function(case: Conv, tile: winograd_tiles.Tile, target: TargetDescription) -> Any:
    """The fused PrimFunc: data, weight, then bias and residual where there are any, output."""
    widths = winograd.winograd_padding(tile, case.anchor, target)
    padded = [size + sum(pair) for size, pair in zip(case.shape, widths, strict=True)]
    data = te.placeholder(padded, name="data")
    weight = np.zeros((case.out_channels, 3, 3, case.shape[-1]))
    packed = winograd.pack_winograd_weight(tile, weight, target).shape
    arguments = [data, te.placeholder(packed, name="weight")]
    value = winograd.winograd_conv(tile, *arguments, case.anchor, target)
    if case.bias:
        arguments.append(te.placeholder((case.out_channels,), name="bias"))
        value = _biased(value, arguments[-1])
    if case.residual:
        arguments.append(te.placeholder(case.output, name="other"))
        value = _added(value, arguments[-1])
    return te.create_prim_func([*arguments, value])


def _biased(value: Any, bias: Any) -> Any:
    return te.compute(value.shape, lambda *i: value[i] + bias[i[-1]], name="biased")


def _added(value: Any, other: Any) -> Any:
    return te.compute(value.shape, lambda *i: te.max(value[i] + other[i], 0.0), name="added")


def arguments_and_result(
    case: Conv, tile: winograd_tiles.Tile, target: TargetDescription
) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    data = rng.standard_normal(case.shape)
    weight = rng.standard_normal((case.out_channels, 3, 3, case.shape[-1]))
    widths = winograd.winograd_padding(tile, case.anchor, target)
    arguments = [np.pad(data, widths), winograd.pack_winograd_weight(tile, weight, target)]
    padded = np.pad(data, ((0, 0), *case.padding, (0, 0)))
    _, height, width, _ = case.output
    result = sum(
        padded[:, y : y + height, x : x + width] @ weight[:, y, x].T
        for y in range(3)
        for x in range(3)
    )
    if case.bias:
        arguments.append(rng.standard_normal(case.out_channels))
        result = result + arguments[-1]
    if case.residual:
        arguments.append(rng.standard_normal(case.output))
        result = np.maximum(result + arguments[-1], 0)
    return [argument.astype(np.float32) for argument in arguments], np.asarray(result)


def check(case: Conv, tile: winograd_tiles.Tile, target: TargetDescription) -> None:
    schedule = tvm.s_tir.Schedule(function(case, tile, target))
    apply_schedule(schedule, target)
    run_and_compare(schedule, case, tile, target)


def run_and_compare(
    schedule: Any, case: Conv, tile: winograd_tiles.Tile, target: TargetDescription
) -> None:
    out, expected = results(schedule, case, tile, target)
    np.testing.assert_allclose(out, expected, atol=2e-5 * np.abs(expected).max())


def results(
    schedule: Any, case: Conv, tile: winograd_tiles.Tile, target: TargetDescription
) -> tuple[np.ndarray, np.ndarray]:
    """What the kernel gives, and the direct convolution in float64."""
    executable = tvm.compile(schedule.mod, tvm.target.Target(target.tvm_target_dict()))
    arguments, expected = arguments_and_result(case, tile, target)
    out = tvm.runtime.tensor(np.full(case.output, 77, np.float32))
    executable["main"](*map(tvm.runtime.tensor, arguments), out)
    return out.numpy(), expected


@pytest.mark.parametrize(("tile", "most"), [("2x2", 8e-7), ("4x4", 1.5e-6)])
def test_rounding(tile, most):
    """At 0, ±1, ±2 and infinity a tile of 4x4 rounds by 2.3e-6 of the result, at most by 4e-5."""
    case = Conv((1, 24, 24, 128), 32)
    schedule = tvm.s_tir.Schedule(function(case, TILES[tile], V3))
    apply_schedule(schedule, V3)
    out, expected = results(schedule, case, TILES[tile], V3)
    size = np.sqrt((expected**2).mean())
    assert np.sqrt(((out - expected) ** 2).mean()) < most * size
    assert np.abs(out - expected).max() < 10 * most * size


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("target", [V3, V4], ids=["v3", "v4"])
def test_convolution(tile, target):
    reason = targets.runs_here(target)
    if reason:
        pytest.skip(reason)

    @few
    @given(convolutions())
    @example(Conv((1, 7, 7, 16), 32, bias=True, residual=True))
    @example(Conv((1, 5, 30, 8), 16))  # more columns than accumulators
    @example(Conv((1, 3, 3, 16), 16, ((0, 0), (0, 0))))  # a single output
    def run(case: Conv) -> None:
        check(case, TILES[tile], target)

    run()


def small_cache(l2_kib: int, cores: int = 2) -> TargetDescription:
    """A target whose cache holds little, so that rows of tiles are split among tasks."""
    fields = {name: getattr(V3, name) for name in V3.__struct_fields__}
    return TargetDescription(**{**fields, "l2_kib": l2_kib, "cores": cores})


@pytest.mark.parametrize("l2_kib", [1, 64, 100_000])
@pytest.mark.parametrize("batch", [1, 2])
def test_every_division_among_tasks(l2_kib, batch):
    case = Conv((batch, 22, 13, 12), 24, bias=True)
    for tile in TILES.values():
        check(case, tile, small_cache(l2_kib))


def test_every_draw_of_the_design_space_gives_the_same_numbers():
    case, tile = Conv((1, 13, 13, 8), 16, bias=True), winograd_tiles.FOUR
    func = function(case, tile, V3)
    candidates = every_kernel(design_space(V3), func)
    assert len(candidates) > 1
    for candidate in candidates[:5]:
        run_and_compare(candidate.schedule, case, tile, V3)


@pytest.mark.parametrize(
    ("shape", "out_channels", "expected"),
    [
        ((1, 56, 56, 64), 64, "4x4"),
        ((1, 28, 28, 128), 128, "4x4"),
        ((1, 7, 7, 512), 512, None),  # the weights' transfer would take longer than the products
        ((1, 224, 224, 3), 64, None),
        ((1, 56, 56, 64), 63, None),  # no whole vectors
    ],
)
def test_the_model_chooses(shape, out_channels, expected):
    window = Window((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)))
    chosen = winograd.winograd_tile(Anchor(shape, window, out_channels), float_kernel(V4), V4)
    assert chosen is (TILES[expected] if expected else None)


def test_only_plain_float32_convolutions():
    window = Window((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)))
    shape = (1, 56, 56, 64)
    assert winograd.winograd_tile(Anchor(shape, window, 64), int8_kernel(V4), V4) is None
    for changes in ({"strides": (2, 2)}, {"dilation": (2, 2)}, {"groups": 2}, {"kernel": (1, 1)}):
        other = dataclasses.replace(window, **changes)
        anchor = Anchor(shape, other, 64)
        assert winograd.winograd_tile(anchor, float_kernel(V4), V4) is None
