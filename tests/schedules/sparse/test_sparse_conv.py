"""Sparse kernels equal numpy exactly, on random sizes and patterns, and multiply in registers."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from schedules.anchor_cases import call, compiled, scheduled

from tvmcomp import targets
from tvmcomp.schedules.anchor import Anchor, Window
from tvmcomp.schedules.dot import DotKernel, bytes_kernel, float_kernel, int8_kernel
from tvmcomp.schedules.sparse.choose import choose_sparse
from tvmcomp.schedules.sparse.conv import sparse_conv
from tvmcomp.schedules.sparse.pattern import nonzero_blocks, pack_blocks
from tvmcomp.schedules.sparse.plan import SparsePlan
from tvmcomp.targets import TargetDescription

V3, V4, VNNI = (targets.load(name) for name in ("x86-64-v3", "x86-64-v4", "cascadelake"))
VNNI_256 = msgspec.structs.replace(VNNI, dot_product="avx_vnni", vector_bits=256)
KERNELS: dict[str, tuple[TargetDescription, DotKernel]] = {
    "float32_8": (V3, float_kernel(V3)),
    "float32_16": (V4, float_kernel(V4)),
    "vpmaddwd_8": (V3, bytes_kernel(V3)),
    "vpmaddwd_16": (V4, bytes_kernel(V4)),
    "vpdpbusd_8": (VNNI_256, int8_kernel(VNNI_256)),
    "vpdpbusd_16": (VNNI, int8_kernel(VNNI)),
}


def pointwise(
    shape: tuple[int, ...], out_channels: int, strides: tuple[int, ...] | None = None
) -> Anchor:
    """A 1x1 convolution of an image, or a product of rows where ``strides`` is None."""
    rank = 1 if strides is None else len(strides)
    window = Window((1,) * rank, strides or (1,), (1,) * rank, ((0, 0),) * rank)
    return Anchor(shape, window, out_channels)


@st.composite
def anchors(draw: st.DrawFn) -> Anchor:
    rank = draw(st.integers(1, 3))
    strides = draw(st.sampled_from([(1,) * rank, (2,) * rank, None]))
    spatial = [draw(st.integers(1, 9)) for _ in range(rank if strides else 1)]
    lead = [draw(st.integers(1, 3)) for _ in range(1 if strides else draw(st.integers(0, 2)))]
    channels = draw(st.integers(4, 40))
    return pointwise((*lead, *spatial, channels), draw(st.integers(1, 70)), strides)


def sparse_weight(
    anchor: Anchor, kernel: DotKernel, share: float, rng: np.random.Generator, vectors: int = 1
) -> np.ndarray:
    """``[O, C]`` of small integers, a ``share`` of whose blocks is zero."""
    weight = rng.integers(-9, 10, (anchor.out_channels, anchor.channels))
    rows, steps = nonzero_blocks(weight, kernel, vectors).shape
    kept = rng.random((rows, steps)) >= share
    wide = np.repeat(np.repeat(kept, vectors * kernel.lanes, 0), kernel.depth, 1)
    return (weight * wide[: len(weight), : weight.shape[1]]).astype(kernel.weight)


def data_of(anchor: Anchor, kernel: DotKernel, rng: np.random.Generator) -> np.ndarray:
    low, high = {"uint8": (0, 256), "int8": (-128, 128)}.get(kernel.data, (-9, 10))
    data = rng.integers(low, high, anchor.shape)
    data[..., 0] = high - 1
    return data.astype(kernel.data)


def expected(anchor: Anchor, data: np.ndarray, weight: np.ndarray) -> np.ndarray:
    steps = tuple(slice(None, None, stride) for stride in anchor.window.strides)
    taken = data[(*(slice(None),) * len(anchor.lead), *steps)]
    return taken.astype(np.int64) @ weight.astype(np.int64).T


def built(plan: SparsePlan, target: TargetDescription) -> Any:
    func = sparse_conv(plan).with_attr("global_symbol", "main")
    return compiled(scheduled(func, target).mod, target)


@pytest.mark.parametrize("name", KERNELS)
def test_a_sparse_kernel_equals_numpy(name: str) -> None:
    target, kernel = KERNELS[name]
    reason = targets.runs_here(target)
    if reason:
        pytest.skip(reason)

    @settings(
        max_examples=6,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(
        anchors(),
        st.sampled_from([1, 3, 8, 13]),
        st.sampled_from([1, 2]),
        st.sampled_from([1, 2, 4]),
        st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    )
    @example(pointwise((2, 13, 13, 24), 40, (1, 1)), 8, 1, 1, 0.8)  # runs over images, and a rest
    @example(pointwise((1, 7, 9, 19), 33, (2, 2)), 3, 2, 1, 0.6)  # odd sizes, every other pixel
    @example(pointwise((1, 64), 40), 1, 1, 4, 0.7)  # one row: sums beside each other
    def check(anchor: Anchor, pixels: int, vectors: int, chains: int, share: float) -> None:
        rng = np.random.default_rng(0)
        weight = sparse_weight(anchor, kernel, share, rng, vectors)
        packed = pack_blocks(weight, kernel, vectors, chains)
        plan = SparsePlan(anchor, kernel, pixels, vectors, chains, len(packed.index))
        data = data_of(anchor, kernel, rng)
        arguments = [data, packed.values, packed.index, packed.ends]
        shape = (*anchor.lead, *anchor.output, anchor.out_channels)
        actual = call(built(plan, target), arguments, shape, kernel.acc)
        np.testing.assert_array_equal(actual, expected(anchor, data, weight))

    check()


def test_packing_keeps_every_weight_and_reads_nothing_outside() -> None:
    kernel = int8_kernel(VNNI)
    rng = np.random.default_rng(0)
    for channels in (4, 5, 6, 7, 19):
        anchor = pointwise((1, channels), 37)
        weight = sparse_weight(anchor, kernel, 0.5, rng)
        packed = pack_blocks(weight, kernel, 1, 2)
        assert packed.index.min() >= 0
        assert packed.index.max() + kernel.depth <= channels
        again = np.zeros((48, channels), np.int64)
        for row, (begin, end) in enumerate(zip(packed.ends[:-1], packed.ends[1:], strict=True)):
            assert (end - begin) % 2 == 0
            for block, at in zip(packed.values[begin:end], packed.index[begin:end], strict=True):
                again[row * 16 : row * 16 + 16, at : at + kernel.depth] += block[0]
        np.testing.assert_array_equal(again[:37], weight)


@pytest.mark.parametrize(
    ("name", "dtype", "line"),
    [
        ("x86-64-v3", "float32", r"vfmadd\w+ps.*ymm"),
        ("x86-64-v4", "float32", r"vfmadd\w+ps.*zmm"),
        ("x86-64-v3", "int8", r"vpmaddwd.*ymm"),
        ("cascadelake", "int8", r"vpdpbusd.*zmm"),
        ("rpi4", "float32", r"fmla\s+v\d+\.4s, v\d+\.4s, v\d+\.s\[\d\]"),
        ("rpi4", "int8", r"smull\s+v\d+\.8h"),
        ("rpi5", "int8", r"sdot\s+v\d+\.4s"),
        ("graviton3", "int8", r"sdot\s+v\d+\.4s"),
        ("armv7", "float32", r"vmul\.f32\s+q"),
    ],
)
def test_the_inner_loop_multiplies_in_registers(name: str, dtype: str, line: str) -> None:
    target = targets.load(name)
    kernel = float_kernel(target) if dtype == "float32" else int8_kernel(target)
    anchor = pointwise((1, 14, 14, 96), 64, (1, 1))
    weight = np.zeros((64, 1, 1, 96), kernel.weight)
    weight[:, ..., ::8] = 1
    choice = choose_sparse(anchor, weight, kernel, target)
    assert choice is not None
    code = built(choice.plan, target).mod.inspect_source("asm")
    bodies = re.split(r"\n\.LBB\w+:.*\n", re.sub(r"\n\.Ltmp\d+:", "", code))
    loop = max(
        (re.split(r"\n\tb\.|\n\tj|\n\tbne", b)[0] for b in bodies),
        key=lambda b: len(re.findall(line, b)),
    )
    assert len(re.findall(line, loop)) >= choice.plan.pixels * choice.plan.vectors
    assert not re.search(r"call|\bbl\b|\(%rsp\)|\[sp", loop)


def test_a_dense_weight_is_left_dense() -> None:
    kernel = float_kernel(V4)
    rng = np.random.default_rng(0)
    anchor = pointwise((1, 14, 14, 64), 64, (1, 1))
    assert choose_sparse(anchor, rng.normal(size=(64, 1, 1, 64)), kernel, V4) is None
    scattered = rng.normal(size=(64, 1, 1, 64)) * (rng.random((64, 1, 1, 64)) < 0.2)
    choice = choose_sparse(anchor, scattered, kernel, V4)
    assert choice is not None
    assert choice.gain < 1.1  # hardly a block of 16 is zero


@pytest.mark.parametrize(
    "anchor",
    [
        Anchor((1, 8, 8, 16), Window((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1))), 16),
        Anchor((1, 8, 8, 16), Window((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)), groups=2), 16),
        Anchor((1, 8, 8, 16), Window((1, 1), (1, 1), (1, 1), ((0, 1), (0, 0))), 16),
    ],
)
def test_windows_groups_and_padding_have_no_sparse_kernel(anchor: Anchor) -> None:
    window = anchor.window
    weight = np.zeros((16, *window.kernel, anchor.group_channels))
    assert choose_sparse(anchor, weight, float_kernel(V4), V4) is None


def test_amx_stays_dense() -> None:
    target = targets.load("sapphirerapids")
    anchor = pointwise((1, 28, 28, 128), 128, (1, 1))
    weight = np.zeros((128, 1, 1, 128), np.int8)
    assert choose_sparse(anchor, weight, int8_kernel(target), target) is None
