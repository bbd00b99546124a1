"""Which networks give a batch what they give its samples alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tvmcomp.passes.rewriter import const
from tvmcomp.passes.samples_apart import times_as_many
from tvmcomp.tvm_import import tvm

relax = tvm.relax
op = relax.op
Build = Callable[[Callable[..., Any], Any, int], Any]


def network(build: Build, batch: int, *shape: int) -> Any:
    x = relax.Var("x", relax.TensorType((batch, *shape), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(build(builder.emit, x, batch))
        builder.emit_func_output(result)
    return builder.get()


def ones(*shape: int) -> Any:
    return const(np.ones(shape, "float32"))


def images(emit: Any, x: Any, batch: int) -> Any:
    layout = {"data_layout": "NHWC", "kernel_layout": "OHWI", "padding": 1}
    y = emit(op.nn.relu(emit(op.nn.conv2d(x, ones(4, 3, 3, 3), **layout))))
    y = emit(op.concat([y, emit(op.nn.max_pool2d(y, (1, 1), layout="NHWC"))], 3))
    y = emit(op.multiply(y, emit(op.sigmoid(emit(op.mean(y, [1, 2], keepdims=True))))))
    first, second = (emit(relax.TupleGetItem(emit(op.split(y, 2, 3)), i)) for i in range(2))
    rows = emit(op.reshape(emit(op.add(first, second)), (batch, 64 * 4)))
    return op.nn.softmax(emit(op.matmul(rows, ones(256, 5))), -1)


def words(emit: Any, x: Any, batch: int) -> Any:
    rows = emit(op.matmul(emit(op.reshape(x, (batch * 8, 6))), ones(6, 12)))
    heads = emit(op.reshape(rows, (batch, 8, 3, 4)))
    query = emit(op.permute_dims(heads, [0, 2, 1, 3]))
    scores = emit(op.matmul(query, emit(op.permute_dims(heads, [0, 2, 3, 1]))))
    mixed = emit(op.matmul(emit(op.nn.softmax(scores, -1)), query))
    joined = emit(op.reshape(emit(op.permute_dims(mixed, [0, 2, 1, 3])), (batch, 8, 12)))
    return op.nn.layer_norm(joined, ones(12), ones(12), [-1])


@pytest.mark.parametrize(("build", "shape"), [(images, (8, 8, 3)), (words, (8, 6))])
def test_samples_that_stay_apart(build: Build, shape: tuple[int, ...]) -> None:
    for one, many in ((1, 4), (2, 6), (2, 4)):
        few, more = network(build, one, *shape), network(build, many, *shape)
        assert times_as_many(few, more) == many // one
        assert times_as_many(more, few) is None
    assert times_as_many(network(build, 2, *shape), network(build, 3, *shape)) is None
    same = network(build, 2, *shape)
    assert times_as_many(same, network(build, 2, *shape)) is None


MIXED: dict[str, Build] = {
    "softmax": lambda emit, x, _: op.nn.softmax(x, 0),
    "mean": lambda emit, x, _: op.add(x, emit(op.mean(x, [0], keepdims=True))),
    "sum of all": lambda emit, x, _: op.multiply(x, emit(op.sum(x))),
    "cumsum": lambda emit, x, _: op.cumsum(x, 0),
    "flip": lambda emit, x, _: op.flip(x, 0),
    "slice": lambda emit, x, n: op.strided_slice(x, [0], [n - 1], [-n - 1], [-1]),
    "product": lambda emit, x, _: op.matmul(
        emit(op.matmul(x, emit(op.permute_dims(x)))), emit(op.nn.relu(x))
    ),
    "join": lambda emit, x, _: op.concat([x, x], 0),
    "turned": lambda emit, x, _: op.permute_dims(x),
    "regrouped": lambda emit, x, n: op.reshape(emit(op.permute_dims(x)), (n, 4)),
    "normalized": lambda emit, x, n: op.nn.layer_norm(x, ones(n, 4), ones(n, 4), [0, 1]),
    "constant": lambda emit, x, n: op.add(x, const(np.arange(4 * n).reshape(n, 4).astype("f4"))),
}


@pytest.mark.parametrize("build", MIXED.values(), ids=list(MIXED))
def test_samples_that_meet(build: Build) -> None:
    assert times_as_many(network(build, 2, 4), network(build, 4, 4)) is None


def test_several_outputs() -> None:
    def outputs(emit: Any, x: Any, last: Any) -> Any:
        rows = emit(op.mean(x, [1, 2]))
        return relax.Tuple([rows, emit(op.nn.relu(x)), emit(last(x))])

    def both(last: Any) -> int | None:
        one, four = (network(lambda emit, x, _: outputs(emit, x, last), n, 8, 8, 3) for n in (1, 4))
        return times_as_many(one, four)

    assert both(op.abs) == 4
    assert both(lambda x: op.permute_dims(x, [3, 0, 1, 2])) is None  # channels outside the samples
