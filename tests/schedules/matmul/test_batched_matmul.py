"""Products of two activations and attention, over random shapes, layouts and tails."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pytest
import tvm_ffi
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from schedules.anchor_cases import call, compiled, scheduled
from schedules.design_points import every_kernel

from tvmcomp import targets
from tvmcomp.schedules import design_space
from tvmcomp.schedules.matmul.attention import AttentionShape, attention
from tvmcomp.schedules.matmul.batched_matmul import (
    MatmulShape,
    batched_matmul,
    packs_right,
    pads_columns,
)
from tvmcomp.schedules.matmul.view import View
from tvmcomp.targets import TargetDescription
from tvmcomp.tuning.task import normalize
from tvmcomp.tuning.trace import apply_trace
from tvmcomp.tvm_import import tvm

te = tvm.te

V3 = targets.load("x86-64-v3")
#: As many lanes as NEON has, and no registers to spare.
NARROW = msgspec.structs.replace(V3, name="narrow", vector_bits=128, vector_registers=8)
#: One float at a time, as a RISC-V without vectors.
NO_VECTORS = msgspec.structs.replace(V3, name="no-vectors", vector_bits=32)
TARGETS = {
    "avx2": V3,
    "avx512": targets.load("x86-64-v4"),
    "narrow": NARROW,
    "no-vectors": NO_VECTORS,
}

few = settings(
    max_examples=10,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # Shrinking would compile for minutes.
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(params=TARGETS)
def target(request: Any) -> TargetDescription:
    reason = targets.runs_here(TARGETS[request.param])
    if reason:
        pytest.skip(reason)
    return TARGETS[request.param]


@dataclass(frozen=True)
class Product:
    """``left [*batch, rows, depth] x right [*batch, depth, columns]``.

    ``transposed`` operands lie in memory with their last two dimensions exchanged; ``joined``
    results are wanted as ``[rows, batch * columns]``.
    """

    batch: tuple[int, ...]
    rows: int
    columns: int
    depth: int
    left_transposed: bool = False
    right_transposed: bool = False
    joined: bool = False
    epilogue: bool = False


@st.composite
def products(draw: st.DrawFn) -> Product:
    return Product(
        tuple(draw(st.lists(st.integers(1, 3), max_size=2))),
        draw(st.integers(1, 40)),
        draw(st.integers(2, 70)),
        draw(st.integers(1, 40)),
        *(draw(st.booleans()) for _ in range(4)),
    )


def product_function(case: Product, target: TargetDescription) -> Any:
    shape = MatmulShape(case.batch, case.rows, case.columns, case.depth)
    packed = packs_right(shape, not case.right_transposed, target)
    output = View.of((*case.batch, case.rows, case.columns))
    if case.joined and not pads_columns(shape, packed, target):
        rank = len(case.batch)
        moved = output.permute((rank, *range(rank), rank + 1))
        output = moved.reshape((case.rows, int(np.prod(case.batch)) * case.columns))
    left, right = operand_shapes(case)
    tensors = [te.placeholder(left, name="left"), te.placeholder(right, name="right")]

    def reader(tensor: Any, transposed: bool) -> Any:
        if transposed:
            return lambda *i: tensor[(*i[:-2], i[-1], i[-2])]
        return lambda *i: tensor[i]

    result = batched_matmul(
        shape,
        reader(tensors[0], case.left_transposed),
        reader(tensors[1], case.right_transposed),
        output,
        packed,
        target,
    )
    if case.epilogue:
        added = te.placeholder((int(output.shape[-1]),), name="added")
        tensors.append(added)
        scaled = te.compute(result.shape, lambda *i: result[i] * 0.5, name="scaled")
        result = te.compute(result.shape, lambda *i: scaled[i] + added[i[-1]], name="sum")
    return te.create_prim_func([*tensors, result]), output


def operand_shapes(case: Product) -> tuple[tuple[int, ...], tuple[int, ...]]:
    left, right = (case.rows, case.depth), (case.depth, case.columns)
    return (
        (*case.batch, *(left[::-1] if case.left_transposed else left)),
        (*case.batch, *(right[::-1] if case.right_transposed else right)),
    )


def product_arguments(case: Product, output: View) -> tuple[list[np.ndarray], np.ndarray]:
    """Small integers, whose sums of products float32 holds exactly."""
    rng = np.random.default_rng(0)
    left, right = (rng.integers(-9, 10, shape) for shape in operand_shapes(case))
    a = left.swapaxes(-1, -2) if case.left_transposed else left
    b = right.swapaxes(-1, -2) if case.right_transposed else right
    product = a @ b
    expected = np.empty(output.shape)
    for at in np.ndindex(*output.shape):
        expected[at] = product[tuple(output.index(at))]
    arguments = [left.astype(np.float32), right.astype(np.float32)]
    if case.epilogue:
        added = rng.integers(-9, 10, output.shape[-1])
        arguments.append(added.astype(np.float32))
        expected = expected * 0.5 + added
    return arguments, expected


def check_product(case: Product, target: TargetDescription) -> None:
    func, output = product_function(case, target)
    arguments, expected = product_arguments(case, output)
    executable = compiled(scheduled(func, target).mod, target)
    actual = call(executable, arguments, expected.shape, "float32")
    np.testing.assert_array_equal(actual, expected)


def test_batched_product(target):
    @few
    @given(products())
    @example(Product((3,), 197, 64, 197))  # rows are no whole number of tiles
    @example(Product((2,), 37, 197, 8, right_transposed=True))  # nor columns of vectors
    @example(Product((2, 3), 9, 32, 16, joined=True, epilogue=True))
    @example(Product((), 1, 2, 1))
    def run(case: Product) -> None:
        check_product(case, target)

    run()


@dataclass(frozen=True)
class Heads:
    """Attention as networks have it: the heads side by side in the channels of each operand."""

    batch: int
    heads: int
    rows: int
    keys: int
    depth: int
    width: int
    masked: bool = False
    followed: bool = False

    @property
    def shape(self) -> AttentionShape:
        return AttentionShape(
            (self.batch, self.heads), self.rows, self.keys, self.depth, self.width
        )


@st.composite
def heads(draw: st.DrawFn) -> Heads:
    return Heads(
        draw(st.integers(1, 2)),
        draw(st.integers(1, 3)),
        draw(st.integers(2, 70)),
        draw(st.integers(1, 50)),
        draw(st.integers(1, 20)),
        4 * draw(st.integers(1, 12)),
        draw(st.booleans()),
        draw(st.booleans()),
    )


def attention_function(case: Heads, target: TargetDescription) -> Any:
    channels = [case.depth, case.depth, case.width]
    lengths = [case.rows, case.keys, case.keys]
    tensors, readers = [], []
    for name, length, width in zip("qkv", lengths, channels, strict=True):
        tensor = te.placeholder((case.batch, length, case.heads * width), name=name)
        split = View.of((case.batch, length, case.heads * width))
        view = split.reshape((case.batch, length, case.heads, width))
        assert view is not None
        tensors.append(tensor)
        readers.append(_reader(tensor, view.permute((0, 2, 1, 3))))
    mask = te.placeholder((case.batch, 1, case.rows, case.keys), name="mask")
    if case.masked:
        tensors.append(mask)

    def adjust(score: Any, batch: Any, _head: Any, row: Any, key: Any) -> Any:
        return score + mask[batch, 0, row, key] if case.masked else score

    result = View.of((*case.shape.batch, case.rows, case.width)).permute((0, 2, 1, 3))
    joined = result.reshape((case.batch, case.rows, case.heads * case.width))
    assert joined is not None
    out = attention(case.shape, *readers, adjust, joined, target)
    if case.followed:
        # Both values are read twice, as x * relu6(x + 3) reads x.
        attended = out
        shifted = te.compute(out.shape, lambda *i: attended[i] + 1.0, name="shifted")
        relu = te.compute(out.shape, lambda *i: te.max(shifted[i], 0.0), name="relu")
        out = te.compute(out.shape, lambda *i: attended[i] * relu[i] + shifted[i], name="gated")
    return te.create_prim_func([*tensors, out])


def _reader(tensor: Any, view: View) -> Any:
    return lambda *i: tensor[tuple(view.index(i))]


def attention_arguments(case: Heads) -> tuple[list[np.ndarray], np.ndarray]:
    """Random operands, and the result in float64."""
    rng = np.random.default_rng(0)
    b, h = case.shape.batch
    sizes = [(case.rows, case.depth), (case.keys, case.depth), (case.keys, case.width)]
    arguments = [rng.standard_normal((b, n, h * w)).astype(np.float32) for n, w in sizes]
    q, k, v = (
        x.astype(np.float64).reshape(b, n, h, w).transpose(0, 2, 1, 3)
        for x, (n, w) in zip(arguments, sizes, strict=True)
    )
    scores = q @ k.swapaxes(-1, -2)
    if case.masked:
        mask = np.where(rng.random((b, 1, case.rows, case.keys)) < 0.3, -1e4, 0.5)
        arguments.append(mask.astype(np.float32))
        scores = scores + mask
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    expected = (weights @ v).transpose(0, 2, 1, 3).reshape(b, case.rows, h * case.width)
    if case.followed:
        expected = expected * np.maximum(expected + 1, 0) + expected + 1
    return arguments, expected


def test_attention(target):
    @few
    @given(heads())
    @example(Heads(1, 3, 197, 197, 64, 64))
    @example(Heads(1, 2, 128, 128, 32, 32, masked=True))
    @example(Heads(2, 1, 33, 1, 1, 4, masked=True, followed=True))
    @example(Heads(1, 1, 2, 1, 4, 4))
    def run(case: Heads) -> None:
        arguments, expected = attention_arguments(case)
        executable = compiled(scheduled(attention_function(case, target), target).mod, target)
        actual = call(executable, arguments, expected.shape, "float32")
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)

    run()


def test_scores_are_kept_for_one_block_of_rows():
    """After compaction, a task holds the scores of its own rows only."""
    case = Heads(1, 2, 128, 96, 32, 32)
    transform = tvm.s_tir.transform
    compacted = tvm.transform.Sequential(
        [
            transform.PlanAndUpdateBufferAllocationLocation(),
            transform.ConvertBlocksToOpaque(),
            transform.CompactBufferAllocation(),
        ]
    )(scheduled(attention_function(case, V3), V3).mod)
    sizes: dict[str, int] = {}

    def visit(block: Any) -> Any:
        for buffer in block.alloc_buffers:
            sizes[str(buffer.name)] = int(np.prod([int(dim) for dim in buffer.shape]))
        return tvm_ffi.WalkResult.ADVANCE

    tvm_ffi.structural_walk(compacted["main"].body, (tvm.s_tir.SBlock, visit), order="pre")
    assert sizes["scores"] == sizes["exponentials"]
    assert 96 * 8 <= sizes["scores"] <= 96 * 32


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize(
    "case",
    [
        Product((2,), 37, 64, 16, epilogue=True),
        Product((2,), 37, 51, 16, right_transposed=True),
        Heads(1, 2, 37, 29, 16, 32, masked=True),
        Heads(1, 2, 128, 29, 16, 64),
    ],
    ids=["product", "packed", "attention", "attention of whole blocks"],
)
def test_every_draw_of_the_design_space_gives_the_same_numbers(case):
    """Each candidate of the tuner, replayed from its trace as a build does."""
    if isinstance(case, Product):
        func, output = product_function(case, V3)
        arguments, expected = product_arguments(case, output)
    else:
        func = attention_function(case, V3)
        arguments, expected = attention_arguments(case)
    func = normalize(func)
    candidates = every_kernel(design_space(V3), func)
    assert len(candidates) > 1
    for candidate in candidates[:4]:
        replayed = apply_trace(json.loads(json.dumps(candidate.trace)), func)
        actual = call(compiled(replayed.mod, V3), arguments, expected.shape, "float32")
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
