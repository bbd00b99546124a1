"""Attention in bfloat16 on tiles and on vectors, against float64, over sizes of all residues."""

from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from passes.relax_modules import module, operators, relax, tensor, uniform
from schedules.amx_machine import AMX_TARGET, amx

from tvmcomp import targets
from tvmcomp.codegen.compile import generate, run_here
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.rewriter import const
from tvmcomp.schedules.matmul.attention import AttentionShape
from tvmcomp.schedules.matmul.bfloat16_plan import plan_bfloat16_attention
from tvmcomp.targets import TargetDescription

op = relax.op
#: AVX-512 with BF16; tiles beside it.
VECTORS = msgspec.structs.replace(
    targets.load("cascadelake"),
    features=(*targets.load("cascadelake").features, "avx512bf16"),
    bfloat16=True,
    cores=2,
)
TILES = msgspec.structs.replace(
    AMX_TARGET, features=tuple(sorted({*AMX_TARGET.features, "avx512bf16"}))
)
KINDS = {"vectors": VECTORS, "tiles": TILES}
INSTRUCTIONS = {"vectors": "vdpbf16ps", "tiles": "tdpbf16ps"}


def needs(target: TargetDescription) -> None:
    features = tuple(f for f in target.features if not f.startswith("amx"))
    reason = targets.runs_here(msgspec.structs.replace(target, features=features))
    if reason:
        pytest.skip(reason)


def heads(emit: Any, x: Any, name: str, count: int, order: tuple[int, ...] = (0, 2, 1, 3)) -> Any:
    """``[batch, length, channels]`` as ``[batch, heads, length, width]``, or in another order."""
    batch, length, channels = (int(dim) for dim in x.ty.shape)
    split = emit(op.reshape(x, (batch, length, count, channels // count)), f"{name}_split")
    return emit(op.permute_dims(split, order), f"{name}_heads")


def network(shape: AttentionShape, mask: str, scale: float = 0.3) -> Any:
    """Relax ``main(q, k, v, mask)``: what a transformer does between its projections."""
    batch, count = shape.batch

    def build(emit: Any, q: Any, k: Any, v: Any, m: Any) -> Any:
        keys = heads(emit, k, "k", count, order=(0, 2, 3, 1))
        scores = emit(op.matmul(heads(emit, q, "q", count), keys), "scores")
        scores = emit(op.multiply(scores, relax.const(scale, "float32")), "scaled")
        if mask == "where":
            scores = emit(op.where(m, scores, relax.const(-1e9, "float32")), "chosen")
        else:
            scores = emit(op.add(scores, m), "masked")
        weights = emit(op.nn.softmax(scores, axis=-1), "weights")
        mean = emit(op.matmul(weights, heads(emit, v, "v", count)), "mean")
        moved = emit(op.permute_dims(mean, (0, 2, 1, 3)), "moved")
        joined = emit(op.reshape(moved, (batch, shape.rows, count * shape.width)), "joined")
        return emit(op.nn.relu(joined), "relu")

    size = (shape.rows, shape.keys)
    return module(
        build,
        q=(batch, shape.rows, count * shape.depth),
        k=(batch, shape.keys, count * shape.depth),
        v=(batch, shape.keys, count * shape.width),
        m=tensor(size, "bool") if mask == "where" else size,
    )


def arrays(shape: AttentionShape, mask: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    batch, count = shape.batch
    q = 2 * uniform(rng, batch, shape.rows, count * shape.depth)
    k = 2 * uniform(rng, batch, shape.keys, count * shape.depth)
    v = uniform(rng, batch, shape.keys, count * shape.width)
    allowed = rng.random((shape.rows, shape.keys)) < 0.7
    allowed[:, 0] = True
    if mask == "where":
        return [q, k, v, allowed]
    return [q, k, v, np.where(allowed, 0, -np.inf).astype(np.float32)]


def expected(shape: AttentionShape, inputs: list[np.ndarray], scale: float = 0.3) -> Any:
    """In float64 from inputs rounded to bfloat16: the result, and the sum of what is added up."""
    batch, count = shape.batch
    q, k, v = (
        x.astype(ml_dtypes.bfloat16).astype(np.float64).reshape(batch, x.shape[1], count, -1)
        for x in inputs[:3]
    )
    scores = np.einsum("bqhd,bkhd->bhqk", q, k) * scale
    mask = inputs[3]
    scores = np.where(mask if mask.dtype == bool else mask == 0, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    result, size = (
        np.einsum("bhqk,bkhe->bqhe", weights, x).reshape(batch, shape.rows, -1)
        for x in (v, np.abs(v))
    )
    return np.maximum(result, 0), size


def check(shape: AttentionShape, mask: str, target: TargetDescription) -> None:
    needs(target)
    inputs = arrays(shape, mask)
    with amx() as counts:
        (actual,), _ = run_here(network(shape, mask), target, inputs, half="bfloat16")
    assert not counts or (counts["products"] > 0) == uses_tiles(shape, target)
    wanted, size = expected(shape, inputs)
    # Each exponential is rounded by 2^-9 of itself at most; float32's own errors are far below.
    assert np.all(np.abs(actual - wanted) <= 2.0**-8 * size + 1e-5)


def uses_tiles(shape: AttentionShape, target: TargetDescription) -> bool:
    plan = plan_bfloat16_attention(shape, target)
    assert plan is not None
    return plan.tiles


few = settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # Shrinking would compile for minutes.
    suppress_health_check=list(HealthCheck),
)
shapes = st.builds(
    AttentionShape,
    st.tuples(st.integers(1, 2), st.integers(1, 3)),
    rows=st.integers(8, 70),
    keys=st.integers(1, 70),
    depth=st.integers(1, 70),
    width=st.integers(4, 40),
)


@pytest.mark.parametrize("kind", KINDS)
@few
@given(shapes, st.sampled_from(["where", "add"]))
@example(AttentionShape((1, 3), 197, 197, 64, 64), "add")
@example(AttentionShape((2, 2), 32, 32, 32, 32), "where")
@example(AttentionShape((1, 1), 17, 1, 3, 5), "add")
def test_as_near_as_bfloat16(kind: str, shape: AttentionShape, mask: str) -> None:
    check(shape, mask, KINDS[kind])


def test_few_rows_take_vectors() -> None:
    """A tile would be waste."""
    for shape, tiles in (((1, 4), False), ((1, 64), True)):
        plan = plan_bfloat16_attention(AttentionShape((1,), shape[1], 64, 64, 64), TILES)
        assert plan is not None
        assert plan.tiles == tiles


@pytest.mark.parametrize("kind", KINDS)
def test_both_products_are_instructions_of_bfloat16(kind: str) -> None:
    shape = AttentionShape((1, 2), 64, 64, 64, 64)
    mod = network(shape, "add")
    executable = generate(lower(mod, KINDS[kind], half="bfloat16"), KINDS[kind])
    code = executable.mod.imports[0].inspect_source("asm")
    assert len(re.findall(INSTRUCTIONS[kind], code)) >= 2
    # Beside emulated tiles a machine may have no AVX-512.
    assert "vcvtneps2bf16" in code or "avx512f" not in KINDS[kind].features


def test_queries_keys_and_values_come_in_bfloat16_and_a_mask_as_it_is() -> None:
    mod = network(AttentionShape((1, 2), 32, 32, 32, 32), "add")
    names = operators(lower(mod, TILES, half="bfloat16").mod)
    assert sum("rounded" in name for name in names) == 3
    assert len(names) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_that_a_product_gave_stays_float32(kind: str) -> None:
    """What passes between other kernels is bfloat16."""
    needs(KINDS[kind])
    shape = AttentionShape((1, 1), 19, 21, 16, 16)
    rng = np.random.default_rng(1)
    weight, inputs = uniform(rng, 21, 21), arrays(shape, "add")
    inputs[3] = uniform(rng, 19, 21)

    def build(emit: Any, q: Any, k: Any, v: Any, m: Any) -> Any:
        mask = emit(op.matmul(m, const(weight)), "mask")
        transposed = emit(op.permute_dims(k, (0, 2, 1)), "keys")
        scores = emit(op.add(emit(op.matmul(q, transposed), "scores"), mask), "masked")
        weights = emit(op.nn.softmax(scores, axis=-1), "weights")
        return emit(op.matmul(weights, v), "mean")

    mod = module(build, **{name: x.shape for name, x in zip("qkvm", inputs, strict=True)})
    with amx():
        (narrow,), _ = run_here(mod, KINDS[kind], inputs, half="bfloat16")
        (wide,), _ = run_here(mod, KINDS[kind], inputs)
    assert np.abs(narrow - wide).max() < 0.02 * np.abs(wide).max()


def test_nan_reaches_only_its_row() -> None:
    needs(TILES)
    shape = AttentionShape((1, 1), 20, 20, 16, 16)
    inputs = arrays(shape, "add")
    inputs[0][0, 3, 5] = np.nan
    for target in KINDS.values():
        with amx():
            (actual,), _ = run_here(network(shape, "add"), target, inputs, half="bfloat16")
        assert np.isnan(actual[0, 3]).all()
        assert not np.isnan(np.delete(actual, 3, axis=1)).any()


@pytest.mark.parametrize("name", ["cascadelake", "graviton3"])
def test_other_targets_have_another_kernel(name: str) -> None:
    shape = AttentionShape((1,), 64, 64, 64, 64)
    assert plan_bfloat16_attention(shape, targets.load(name)) is None
