"""What an output is joined of: drawn networks of concatenations, transposes and reshapes."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, relax, uniform

from tvmcomp.passes.rewriter import const
from tvmcomp.quantize.output_parts import Joined, Reshaped, Transposed, output_parts
from tvmcomp.quantize.relax_outputs import parts_of_outputs
from tvmcomp.quantize.sqnr import bounded_sqnr_db, in_parts


class Drawn:
    """A random tensor made by such steps, whose leaves hold numbers of their own."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.steps: dict[int, object] = {}
        self.arrays: list[np.ndarray] = []

    def leaf(self, shape: tuple[int, ...]) -> int:
        self.arrays.append(np.full(shape, len(self.arrays)))
        return len(self.arrays) - 1

    def add(self, array: np.ndarray, step: object) -> int:
        self.arrays.append(array)
        self.steps[len(self.arrays) - 1] = step
        return len(self.arrays) - 1

    def tensor(self, shape: tuple[int, ...], depth: int) -> int:
        kind = self.rng.integers(4) if depth else 3
        if kind == 0:
            axis = int(self.rng.integers(len(shape)))
            first = int(self.rng.integers(0, shape[axis] + 1))
            sizes = [first, shape[axis] - first]
            sources = [
                self.tensor((*shape[:axis], size, *shape[axis + 1 :]), depth - 1) for size in sizes
            ]
            joined = np.concatenate([self.arrays[source] for source in sources], axis)
            return self.add(joined, Joined(axis, sources, sizes))
        if kind == 1:
            axes = [int(axis) for axis in self.rng.permutation(len(shape))]
            before = tuple(shape[axes.index(axis)] for axis in range(len(shape)))
            source = self.tensor(before, depth - 1)
            return self.add(self.arrays[source].transpose(axes), Transposed(source, axes))
        if kind == 2:
            joined = len(shape) > 1 and self.rng.random() < 0.5
            before = (shape[0] * shape[1], *shape[2:]) if joined else (*shape, 1)
            source = self.tensor(before, depth - 1)
            array = self.arrays[source].reshape(shape)
            return self.add(array, Reshaped(source, before, shape))
        return self.leaf(shape)


@pytest.mark.parametrize("seed", range(60))
def test_parts_cover_the_output_and_none_holds_what_a_smaller_part_could(seed: int) -> None:
    drawn = Drawn(np.random.default_rng(seed))
    output = drawn.tensor((4, 3, 6), 4)
    array = drawn.arrays[output]
    parts = output_parts(output, 3, drawn.steps.get)
    covered = np.zeros(array.shape, int)
    for part in parts:
        covered[part] += 1
    assert (covered == 1).all()
    leaves = set(np.unique(array).tolist())
    if not any(isinstance(step, Reshaped) for step in drawn.steps.values()):
        assert all(len(np.unique(array[part])) == 1 for part in parts)
        assert {int(array[part].flat[0]) for part in parts} == leaves


def test_boxes_and_scores_of_a_detector_are_parts() -> None:
    def network(emit, x):
        features = emit(relax.op.matmul(x, const(uniform(np.random.default_rng(0), 6, 24))), "f")
        boxes = emit(relax.op.reshape(features, (1, 8, 12)), "boxes")
        scores = emit(
            relax.op.sigmoid(emit(relax.op.matmul(boxes, const(np.ones((12, 5), "f4"))), "l")), "s"
        )
        joined = emit(relax.op.concat([boxes, scores], axis=2), "joined")
        return [emit(relax.op.permute_dims(joined, [0, 2, 1]), "out"), scores]

    every = slice(None)
    assert parts_of_outputs(module(network, x=(4, 6))) == [
        [(every, slice(0, 12), every), (every, slice(12, 17), every)],
        [(every, every, every)],
    ]


def test_the_worst_part_decides() -> None:
    rng = np.random.default_rng(0)
    boxes, scores = rng.normal(0, 100, (16, 4, 20)), rng.uniform(0, 1, (16, 3, 20))
    reference = np.concatenate([boxes, scores, np.zeros((16, 1, 20))], axis=1)
    actual = reference + rng.normal(0, 0.3, reference.shape)
    parts = [(slice(0, 4), slice(None)), (slice(4, 7), slice(None)), (slice(7, 8), slice(None))]
    assert bounded_sqnr_db(reference, actual) > 40
    found = [bounded_sqnr_db(*pair) for pair in in_parts(reference, actual, parts)]
    assert len(found) == 3  # As a whole, boxes, scores; and not what is 0.
    assert min(found) < 1
    assert len(list(in_parts(reference, actual, parts[:1]))) == 1
