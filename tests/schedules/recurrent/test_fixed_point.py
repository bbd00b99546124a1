"""An LSTM in integers alone: its arithmetic and its kernel, equal to numpy's to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from fixed_point_reference import logistic, lstm, saturated, scaled, tanh
from schedules.anchor_cases import compiled
from schedules.x86_targets import x86

from tvmcomp import targets
from tvmcomp.codegen.toolchain import link_function
from tvmcomp.fixed_point import CELL_EXPONENTS, Multiplier, fixed_point_lstm, multiplier
from tvmcomp.recurrent import Activation, RecurrentCell
from tvmcomp.schedules.recurrent import fixed_point
from tvmcomp.schedules.recurrent.gates import phases
from tvmcomp.schedules.recurrent.integers import of_integers
from tvmcomp.schedules.recurrent.layer import tiles
from tvmcomp.schedules.recurrent.packing import pack
from tvmcomp.schedules.recurrent.time_loop import recurrent_layer
from tvmcomp.tvm_import import tvm

te = tvm.te
HERE = targets.detect()
EVERY = np.arange(-(1 << 15), 1 << 15, dtype="int32")


def computed(values, function):
    """`function` of TIR on every value."""
    x = te.placeholder(values.shape, "int32", name="x")
    y = te.compute(values.shape, lambda i: function(x[i]), name="y")
    mod = tvm.IRModule({"main": te.create_prim_func([x, y]).with_attr("global_symbol", "main")})
    result = tvm.runtime.tensor(np.zeros_like(values))
    compiled(mod, HERE)["main"](tvm.runtime.tensor(values), result)
    return result.numpy()


def test_the_sigmoid_of_every_number():
    got = computed(EVERY, fixed_point.logistic)
    np.testing.assert_array_equal(got, logistic(EVERY))
    assert np.abs(got / 2**15 - 1 / (1 + np.exp(-EVERY / 2**12))).max() < 3e-4


@pytest.mark.parametrize("whole", range(7))
def test_the_tanh_of_every_number(whole):
    got = computed(EVERY, lambda x: fixed_point.tanh(x, whole))
    np.testing.assert_array_equal(got, tanh(EVERY, whole))
    assert np.abs(got / 2**15 - np.tanh(EVERY / 2 ** (15 - whole))).max() < 6e-4


@pytest.mark.parametrize("factor", [1e-7, 3e-5, 0.011, 0.5, 0.9999999999, 1.0, 2.7, 0])
def test_a_multiplication(factor):
    by = multiplier(factor)
    assert by == Multiplier(0, 0) or by.mantissa >= 1 << 30
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.integers(-(1 << 24), 1 << 24, 4000), [0, 1, -1], EVERY[::64]])
    np.testing.assert_array_equal(
        computed(values.astype("int32"), lambda x: fixed_point.scaled(x, by)), scaled(values, by)
    )


def test_halves_go_away_from_zero():
    values = np.array([-3, -2, -1, 0, 1, 2, 3, (1 << 31) - 2, -(1 << 31) + 1], "int32")
    wanted = [-2, -1, -1, 0, 1, 1, 2, (1 << 30) - 1, -(1 << 30)]
    assert computed(values, lambda x: fixed_point.shifted(x, 1)).tolist() == wanted
    np.testing.assert_array_equal(computed(values, lambda x: fixed_point.shifted(x, 0)), values)


def layer(rng, units, steps, batch, backward=(False,), exponent=-11, clip=0.0):
    """A cell with random scales, its x and its weight."""
    numbers = fixed_point_lstm(
        rng.uniform(0.002, 0.06), rng.uniform(0.001, 0.02, 4),
        *((rng.uniform(0.004, 0.01), int(rng.integers(-20, 20))) for _ in range(2)),
        rng.uniform(0.001, 0.02, 4), exponent, clip,
    )  # fmt: skip
    usual = (Activation("sigmoid"), Activation("tanh"), Activation("tanh"))
    cell = RecurrentCell("lstm", units, steps, batch, backward, (usual,) * len(backward),
                         fixed_point=numbers)  # fmt: skip
    columns = len(backward) * 4 * units
    x = rng.normal(0, 8000, (steps * batch, columns)).astype("int32")
    return cell, x, rng.integers(-127, 128, (columns, units)).astype("int8")


def cases():
    rng = np.random.default_rng(7)
    return [
        layer(rng, 1, 4, 1),
        layer(rng, 48, 6, 1, clip=3.0),
        layer(rng, 17, 5, 3, exponent=-15),
        layer(rng, 40, 4, 9, (False, True), exponent=-9),
        layer(rng, 33, 3, 2, (True,), exponent=-12, clip=0.5),
    ]


def function(cell, x, weight, target):
    planned = tiles(cell, "int32", target)
    packed = [
        pack(weight, cell.directions, phase.gates, tile)
        for phase, tile in zip(phases(cell, cell.activations[0]), planned, strict=True)
    ]
    operands = of_integers(cell, weight, None, planned, target)
    arguments = [x, *packed, *operands.values()]
    given = [te.placeholder(a.shape, str(a.dtype), f"a{i}") for i, a in enumerate(arguments)]
    named = dict(zip(operands, given[2:], strict=True))
    results = recurrent_layer(cell, given[0], given[1:2], named, [0, 1, 2], target)
    return te.create_prim_func([*given, *results]), arguments


def check(target, load=None):
    """The kernels of all cases give what numpy does."""
    functions, prepared = {}, []
    for number, case in enumerate(cases()):
        func, arguments = function(*case, target)
        functions[f"case_{number}"] = func.with_attr("global_symbol", f"case_{number}")
        prepared.append(arguments)
    executable = compiled(tvm.IRModule(functions), target)
    module, device = load(executable) if load else (executable, tvm.cpu())
    for number, ((cell, x, weight), arguments) in enumerate(zip(cases(), prepared, strict=True)):
        shapes = zip(cell.result_shapes, cell.result_dtypes, strict=True)
        results = [tvm.runtime.tensor(np.full(s, 77, t), device) for s, t in shapes]
        there = [tvm.runtime.tensor(array, device) for array in arguments]
        module[f"case_{number}"](*there, *results)
        states, last, cells = (result.numpy() for result in results)
        given = x.reshape(cell.steps, cell.batch, cell.directions, 4, cell.units)
        matrices = weight.reshape(cell.directions, 4, cell.units, cell.units)
        for d, backward in enumerate(cell.backward):
            wanted, wanted_cell = lstm(cell.fixed_point, given[:, :, d], matrices[d], backward)
            assert len(np.unique(wanted)) > 2
            np.testing.assert_array_equal(states[:, d], wanted)
            np.testing.assert_array_equal(last[d], wanted[0 if backward else -1])
            np.testing.assert_array_equal(cells[d], wanted_cell)


@pytest.mark.parametrize("name", ["here", "x86-64-v3", "generic"])
def test_the_layer_on_x86(name):
    check(x86(name))


@pytest.mark.parametrize("name", ["rpi4", "rpi5"])
def test_the_layer_on_arm(name, board, tmp_path):
    target = targets.load(name)

    def load(executable):
        library = tmp_path / "kernels.so"
        executable.export_library(str(library), fcompile=link_function(target))
        session = tvm.rpc.connect("127.0.0.1", board.port, session_timeout=60)
        session.upload(str(library))
        return session.load_module(library.name), session.cpu(0)

    check(target, load)


def test_numbers_out_of_range():
    scales, state = [0.01] * 4, (0.01, 0)
    for exponent in (min(CELL_EXPONENTS) - 1, max(CELL_EXPONENTS) + 1):
        with pytest.raises(ValueError, match="scale of its cell"):
            fixed_point_lstm(0.01, scales, state, state, scales, exponent, 0)
    with pytest.raises(ValueError, match="zero point"):
        fixed_point_lstm(0.01, scales, state, (0.01, 128), scales, -11, 0)
    with pytest.raises(ValueError, match="positive"):
        fixed_point_lstm(0.0, scales, state, state, scales, -11, 0)
    assert saturated(np.int64(40000)) == 32767
