"""The workspace: what lives at once does not meet, and all takes no more than TVM's plan."""

from __future__ import annotations

import numpy as np
import pytest
from native_runs import HERE, signature_of
from passes.relax_modules import module

from tvmcomp.codegen.code_target import code_target
from tvmcomp.codegen.native.from_relax import only_calls, plan_of
from tvmcomp.codegen.native.plan import Call, Loop, Place, Plan, Tensor
from tvmcomp.codegen.native.workspace import place
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.rewriter import const, op_name
from tvmcomp.tvm_import import tvm

relax, op = tvm.relax, tvm.relax.op


def buffer(index, nbytes=64):
    return Tensor(Place("buffer", index), (nbytes,), "uint8", nbytes)


def given(kind, index=0, nbytes=64):
    return Tensor(Place(kind, index), (nbytes,), "uint8", nbytes)


def plan(steps, buffers, outputs, inputs=(), carried=()):
    loops = sum(isinstance(step, Loop) for step in steps)
    return Plan(
        ("k",), tuple(inputs), (), (), tuple(buffers), carried, loops, tuple(steps), tuple(outputs)
    )


def call(inputs, outputs):
    return Call(0, tuple(inputs), tuple(outputs))


def test_a_place_is_given_again():
    """A chain needs two places, however long it is."""
    sizes = [100] * 7
    b = [buffer(i, 100) for i in range(7)]
    steps = [call([b[i - 1]] if i else [], [b[i]]) for i in range(7)]
    space = place(plan(steps, sizes, [b[6]]))
    assert space.size == 256
    assert all(offset % 64 == 0 for offset in space.offsets.values())


def test_what_is_read_later_stays():
    b = [buffer(i) for i in range(4)]
    steps = [
        call([], [b[0]]),
        call([b[0]], [b[1]]),
        call([b[1]], [b[2]]),
        call([b[2], b[0]], [b[3]]),
    ]
    space = place(plan(steps, [64] * 4, [b[3]]))
    assert space.size == 192
    assert len({space.offsets[b[i].place] for i in (0, 2, 3)}) == 3


def test_outputs_live_to_the_end():
    """One that a caller's memory can't take is copied there after the last step."""
    b = [buffer(i) for i in range(3)]
    steps = [call([], [b[0]]), call([], [b[1]]), call([b[1]], [b[2]])]
    space = place(plan(steps, [64] * 3, [b[0], b[2]]))
    assert len({space.offsets[each.place] for each in b}) == 3


def test_what_no_step_writes_has_no_place():
    assert place(plan([], [64], [])).size == 0
    assert place(plan([], [], [given("input")], [given("input")])).size == 0


def test_an_input_has_a_place_where_it_may_be_copied():
    x, b = given("input", 0, 100), buffer(0)
    network = plan([call([x], [b])], [64], [b], [x])
    assert place(network).size == 64
    space = place(network, [0])
    assert space.size == 192
    assert space.offsets[x.place] != space.offsets[b.place]


def looped(body, states, carried, **changes):
    trips, going = given("input", 0, 8), given("input", 1, 1)
    homes = tuple(given("carried", i) for i in range(len(states)))
    starts = tuple(given("input", 2) for _ in states)
    fields = {"condition": None, "rows": (), "spare": {}, **changes}
    return Loop(0, trips, going, 9, starts, homes, tuple(body), tuple(states), **fields)


def test_what_a_trip_reads_outlives_the_loop():
    """Buffer 0 is read first in a trip, buffer 2 written last: the next trip reads 0 again."""
    b = [buffer(i) for i in range(4)]
    body = [
        call([b[0], given("carried")], [b[1]]),
        call([b[1]], [b[2]]),
        call([b[2]], [given("next")]),
    ]
    loop = looped(body, [given("next")], None)
    steps = [call([], [b[0]]), loop, call([given("carried")], [b[3]])]
    space = place(plan(steps, [64] * 4, [b[3]], carried=((64, True),)))
    held = {space.offsets[each] for each in (b[0].place, Place("carried", 0), Place("next", 0))}
    assert len(held) == 3
    assert held.isdisjoint({space.offsets[b[1].place], space.offsets[b[2].place]})
    assert space.offsets[b[3].place] not in {  # either is the last state
        space.offsets[Place("carried", 0)],
        space.offsets[Place("next", 0)],
    }


@pytest.mark.parametrize("seed", range(20))
def test_random_plans_keep_what_is_read(seed):
    """Play a plan on bytes: every kernel finds what was written, wherever it lies."""
    rng = np.random.default_rng(seed)
    sizes = [int(n) for n in rng.integers(0, 400, 30)]
    steps, written = [], []
    for i, size in enumerate(sizes):
        read = [written[k] for k in rng.integers(0, len(written), 2)] if written else []
        written.append(buffer(i, size))
        steps.append(call(read, [written[-1]]))
    outputs = [written[k] for k in rng.integers(0, 30, 3)]
    space = place(plan(steps, sizes, outputs))
    memory = np.zeros(space.size, np.int64)

    def region(tensor):
        begin = space.offsets[tensor.place]
        return memory[begin : begin + tensor.nbytes]

    for number, step in enumerate(steps):
        for tensor in step.inputs:
            assert (region(tensor) == tensor.place.index + 1).all()
        for tensor in step.outputs:
            region(tensor)[:] = number + 1
    for tensor in outputs:
        assert (region(tensor) == tensor.place.index + 1).all()


def tvms_own_plan(mod):
    """Bytes of the storage that TVM plans for ``main``, its outputs' too, in cache lines."""
    with code_target(HERE, False):
        planned = relax.get_pipeline("default")(mod)
    bindings = (each for block in planned["main"].body.blocks for each in block.bindings)
    storages = [b.value for b in bindings if op_name(b.value) == "vm.alloc_storage"]
    return sum(-(-int(each.args[0].values[0]) // 64) * 64 for each in storages)


def chain(emit, x):
    for i, width in enumerate([64, 16, 128, 8, 256, 32]):
        weight = np.ones((int(x.ty.shape[-1]), width), "float32")
        x = emit(op.nn.softmax(op.matmul(x, const(weight))), f"layer{i}")
    return x


def wide(emit, x):
    """Branches of several widths, which are read again at the end."""
    parts = []
    for i, width in enumerate([8, 40, 24, 96]):
        hidden = emit(op.nn.softmax(op.matmul(x, const(np.ones((32, width), "float32")))), f"h{i}")
        parts.append(emit(op.nn.softmax(hidden), f"part{i}"))
    return [emit(op.nn.softmax(op.concat(parts, 1)), "joined"), parts[0]]


def residual(emit, x):
    kernel = np.ones((8, 3, 3, 8), "float32")
    layouts = {"data_layout": "NHWC", "kernel_layout": "OHWI", "padding": [1, 1, 1, 1]}
    for i in range(4):
        y = emit(op.nn.relu(op.nn.conv2d(x, const(kernel), **layouts)), f"first{i}")
        y = emit(op.nn.conv2d(y, const(kernel), **layouts), f"second{i}")
        x = emit(op.nn.relu(op.add(x, y)), f"sum{i}")
    return x


@pytest.mark.parametrize(
    ("build", "shape"), [(chain, (9, 32)), (wide, (16, 32)), (residual, (1, 14, 14, 8))]
)
def test_never_more_than_tvms_own_plan(build, shape):
    lowered = lower(module(build, x=shape), HERE)
    mod = only_calls(lowered.looped, code_target(HERE, False))
    space = place(plan_of(mod, len(signature_of(lowered).inputs)))
    assert 0 < space.size <= tvms_own_plan(lowered.mod)
