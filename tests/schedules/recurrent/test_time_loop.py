"""The loop over time as a kernel, on every instruction set, against numpy in float64."""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from schedules.anchor_cases import compiled
from schedules.x86_targets import x86
from slow_variants import first_and_slow

from tvmcomp import targets
from tvmcomp.codegen.toolchain import link_function
from tvmcomp.recurrent import GATES, OPTIONAL, Activation, RecurrentCell
from tvmcomp.schedules.recurrent.gates import phases
from tvmcomp.schedules.recurrent.integers import of_integers
from tvmcomp.schedules.recurrent.layer import tiles
from tvmcomp.schedules.recurrent.packing import pack
from tvmcomp.schedules.recurrent.tile import choose_tile
from tvmcomp.schedules.recurrent.time_loop import recurrent_layer
from tvmcomp.tvm_import import tvm

te = tvm.te
HERE = targets.detect()

_SIGMOID, _TANH = Activation("sigmoid"), Activation("tanh")
_FUNCTIONS = {"lstm": (_SIGMOID, _TANH, _TANH), "gru": (_SIGMOID, _TANH), "rnn": (_TANH,)}


def cell_of(kind, units, steps, batch, backward=(False,), **changes):
    left_out = ["weight_scale", *(() if "reset_after" in changes else ("recurrent_bias",))]
    operands = [name for name in OPTIONAL if name not in left_out]
    if kind != "lstm":
        operands = [name for name in operands if name not in ("initial_cell", "peepholes")]
    functions = (_FUNCTIONS[kind],) * len(backward)
    operands = tuple(operands)
    return RecurrentCell(
        kind, units, steps, batch, backward, functions, operands=operands, **changes
    )


#: Units that fill vectors and blocks and that don't, rows that make several tiles.
CASES = (
    cell_of("lstm", 1, 4, 1),
    cell_of("lstm", 40, 5, 9, (False, True)),
    cell_of("lstm", 17, 3, 2, (True,), clip=0.5),
    cell_of("gru", 19, 4, 3, (False, True)),
    cell_of("gru", 64, 3, 8, reset_after=True),
    cell_of("gru", 3, 5, 5, (True,), reset_after=True),
    cell_of("rnn", 33, 4, 4, (False, True)),
)


def tensors(cell, dtype="float32", seed=0):
    """x, the weights as they come, and the operands."""
    rng, rows = np.random.default_rng(seed), GATES[cell.kind] * cell.units
    steps, batch = cell.steps, cell.batch
    directions = len(cell.backward)
    shapes = {
        "x": (steps * batch, directions * rows),
        "weight": (directions * rows, cell.units),
        "recurrent_bias": (directions, cell.units),
        "initial_state": (directions, batch, cell.units),
        "initial_cell": (directions, batch, cell.units),
        "peepholes": (directions, 3 * cell.units),
    }
    found = {name: rng.uniform(-1, 1, shape).astype(dtype) for name, shape in shapes.items()}
    found["weight"] /= np.sqrt(cell.units).astype(dtype)
    found["lengths"] = rng.integers(0, steps, batch, "int32", endpoint=True)
    return {name: found[name] for name in ("x", "weight", *cell.operands)}


def reference(cell, given):
    """The results, by the standard's equations, one sequence after the other."""
    x, weight = given["x"].astype("float64"), given["weight"].astype("float64")
    steps, batch = cell.steps, cell.batch
    units, gates = cell.units, GATES[cell.kind]
    directions = len(cell.backward)
    x = x.reshape(steps, batch, directions, gates, units)
    weight = weight.reshape(directions, gates, units, units)
    if cell.in_integers:
        weight = weight * given["weight_scale"].reshape(directions, gates, units, 1)
    states = np.zeros((steps, directions, batch, units))
    last, last_cell = np.zeros((2, directions, batch, units))
    for d in range(directions):
        bias = given["recurrent_bias"][d] if "recurrent_bias" in given else np.zeros(units)
        peepholes = given["peepholes"][d].reshape(3, units) if "peepholes" in given else [0, 0, 0]
        for row in range(batch):
            length = int(given["lengths"][row])
            state = given["initial_state"][d, row].astype("float64")
            step = np.maximum(1, np.abs(state).max()) / 127 if cell.in_integers else 0
            step = None if cell.dynamic_range else step
            memory = given["initial_cell"][d, row] if "initial_cell" in given else 0
            for t in reversed(range(length)) if cell.backward[d] else range(length):
                arguments = (weight[d], state, memory, bias, peepholes, step)
                state, memory = _step(cell, x[t, row, d], *arguments)
                states[t, d, row] = state
            if length:
                last[d, row], last_cell[d, row] = state, memory
    return [states, last, last_cell] if cell.kind == "lstm" else [states, last]


def _step(cell, x, weight, state, memory, bias, peepholes, step):
    def rounded(value):
        if step is None:
            low, high = min(value.min(), 0), max(value.max(), 0)
            scale = (high - low) / 255
            zero_point = np.rint(-low / scale)
            return (np.clip(np.rint(value / scale) + zero_point, 0, 255) - zero_point) * scale
        return np.rint(value / step) * step if step else value

    def sigmoid(value):
        return 1 / (1 + np.exp(-clipped(value)))

    def clipped(value):
        return np.clip(value, -cell.clip, cell.clip) if cell.clip else value

    product = weight @ rounded(state)
    if cell.kind == "rnn":
        return np.tanh(clipped(x[0] + product[0])), 0
    if cell.kind == "gru":
        z, r = sigmoid(x[0] + product[0]), sigmoid(x[1] + product[1])
        inner = r * (product[2] + bias) if cell.reset_after else weight[2] @ rounded(r * state)
        return (1 - z) * np.tanh(clipped(x[2] + inner)) + z * state, 0
    i = sigmoid(x[0] + product[0] + peepholes[0] * memory)
    f = sigmoid(x[2] + product[2] + peepholes[2] * memory)
    memory = f * memory + i * np.tanh(clipped(x[3] + product[3]))
    return sigmoid(x[1] + product[1] + peepholes[1] * memory) * np.tanh(memory), memory


def function(cell, given, target):
    """The PrimFunc that computes ``cell``, and its arguments without the results."""
    dtype = str(given["x"].dtype)
    planned = tiles(cell, dtype, target)
    packed = [
        pack(given["weight"], cell.directions, phase.gates, tile)
        for phase, tile in zip(phases(cell, cell.activations[0]), planned, strict=True)
    ]
    operands = {name: given[name] for name in cell.operands}
    if cell.in_integers:
        scale = operands.pop("weight_scale")
        operands |= of_integers(cell, given["weight"], scale, planned, target)
    arguments = [given["x"], *packed, *operands.values()]
    x, *others = (te.placeholder(a.shape, str(a.dtype), f"a{i}") for i, a in enumerate(arguments))
    named = dict(zip(operands, others[len(packed) :], strict=True))
    wanted = list(range(len(cell.result_shapes)))
    results = recurrent_layer(cell, x, others[: len(packed)], named, wanted, target)
    return te.create_prim_func([x, *others, *results]), arguments


def outputs(cell, given, device=None):
    shapes = cell.result_shapes
    full = [np.full(shape, 77, given["x"].dtype) for shape in shapes]
    return [tvm.runtime.tensor(array, device or tvm.cpu()) for array in full]


def in_integers(cell, given, **changes):
    """The same layer with its weights in int8."""
    weight = given["weight"]
    scale = np.abs(weight).max(axis=1) / np.float32(127)
    given = {**given, "weight": np.rint(weight / scale[:, None]).astype("int8")}
    given["weight_scale"] = scale
    operands = ("weight_scale", *cell.operands)
    return msgspec.structs.replace(cell, operands=operands, **changes), given


def check(calls, target, load=None):
    """What the kernels of ``calls``, by number, compute is what numpy does."""
    functions, prepared = {}, []
    for number, (cell, given) in enumerate(calls):
        func, arguments = function(cell, given, target)
        functions[f"case_{number}"] = func.with_attr("global_symbol", f"case_{number}")
        prepared.append(arguments)
    executable = compiled(tvm.IRModule(functions), target)
    module, device = load(executable) if load else (executable, tvm.cpu())
    for number, ((cell, given), arguments) in enumerate(zip(calls, prepared, strict=True)):
        results = outputs(cell, given, device)
        there = [tvm.runtime.tensor(array, device) for array in arguments]
        module[f"case_{number}"](*there, *results)
        for got, want in zip(results, reference(cell, given), strict=True):
            # In integers a tie may go to the other side, which the next steps go on with.
            difference = np.abs(got.numpy() - want)
            assert difference.max() < (2e-2 if cell.in_integers else 3e-6), cell
            assert np.median(difference) < 3e-6, cell


def on_board(board, target, folder):
    def load(executable):
        library = folder / "kernels.so"
        executable.export_library(str(library), fcompile=link_function(target))
        session = tvm.rpc.connect("127.0.0.1", board.port, session_timeout=60)
        session.upload(str(library))
        return session.load_module(library.name), session.cpu(0)

    return load


FLOAT = [
    (cell, tensors(cell, "float64" if number == 1 else "float32"))
    for number, cell in enumerate(CASES)
]
INTEGER = [in_integers(cell, tensors(cell)) for cell in CASES]
#: Of one row: the range is of all rows together, and the reference takes each alone.
_ALONE = [cell_of("lstm", 40, 5, 1, (False, True)), cell_of("lstm", 1, 4, 1)]
INTEGER += [in_integers(cell, tensors(cell), dynamic_range=True) for cell in _ALONE]


@pytest.mark.parametrize("name", ["here", "x86-64-v3", "generic"])
def test_float_on_x86(name):
    check(FLOAT, x86(name))


@pytest.mark.parametrize("rows", [4, 9])
def test_a_long_step_is_spread_over_threads(rows):
    cells = [cell_of("lstm", 520, 3, rows), cell_of("gru", 530, 3, rows)]
    target = msgspec.structs.replace(HERE, cores=2)
    calls = [(cell, tensors(cell)) for cell in cells]
    check([*calls, *(in_integers(*call) for call in calls)], target)
    func, _ = function(*calls[0], target)
    assert "T.parallel" in str(func)


@pytest.mark.parametrize("name", ["here", "x86-64-v3", "generic"])
def test_integers_on_x86(name):
    check(INTEGER, x86(name))


@pytest.mark.parametrize("name", first_and_slow("rpi4", "rpi5", "graviton3"))
def test_on_arm(name, board, tmp_path):
    target = targets.load(name)
    check([*FLOAT, *INTEGER], target, load=on_board(board, target, tmp_path))


@pytest.mark.parametrize(
    ("name", "instruction"),
    [("x86-64-v4", "vpmaddwd"), ("cascadelake", "vpdpbusd"), ("alderlake", "vpdpbusd"),
     ("rpi4", "sadalp"), ("rpi5", "sdot"), ("graviton3", "sdot")],
)  # fmt: skip
def test_integers_are_multiplied_by_the_dot_product(name, instruction):
    func, _ = function(*INTEGER[4], targets.load(name))
    mod = tvm.IRModule({"main": func.with_attr("global_symbol", "main")})
    assert instruction in compiled(mod, targets.load(name)).mod.inspect_source("asm")


@pytest.mark.parametrize(("kind", "batch"), [("lstm", 1), ("lstm", 8), ("gru", 8)])
@pytest.mark.parametrize(
    ("name", "product", "store"),
    [
        ("x86-64-v3", r"vfmadd\w+ps\t.*ymm", r"vmov[ua]ps\t%[xyz]mm\d+, .*\("),
        ("x86-64-v4", r"vfmadd\w+ps\t.*zmm", r"vmov[ua]ps\t%[xyz]mm\d+, .*\("),
        ("rpi4", r"fmla\tv\d+\.4s", r"\tst[rp]\t"),
    ],
)
def test_the_sums_stay_in_registers(name, product, store, kind, batch):
    """The loop over the state loads weights and state, and stores nothing."""
    target = targets.load(name)
    reset = {"reset_after": True} if kind == "gru" else {}
    cell = msgspec.structs.replace(cell_of(kind, 64, 4, batch, **reset), operands=())
    func, _ = function(cell, tensors(cell), target)
    mod = tvm.IRModule({"main": func.with_attr("global_symbol", "main")})
    code = compiled(mod, target).mod.inspect_source("asm")
    # From a label to the jump back to it, with no other label between.
    loops = re.findall(r"\n(\.L\w+):((?:\n(?!\.LBB).*)*?\n\s+(?:j|b\.)\w+\s+\1)\b", code)
    products = [body for _, body in loops if len(re.findall(product, body)) >= 8]
    products = [body for body in products if "div" not in body]  # the equations have
    assert products
    assert not any(re.search(store, body) for body in products)


def test_tiles_fit_the_registers():
    for name in ("x86-64-v3", "x86-64-v4", "rpi4"):
        target = targets.load(name)
        for gates in (1, 2, 3, 4):
            for batch in (1, 2, 3, 8, 9, 100):
                tile = choose_tile(100, gates, batch, 32, target)
                assert tile.rows * tile.columns < target.vector_registers
                assert gates * tile.vectors % tile.columns == 0
                assert replace(tile, rows=1).blocks * tile.block >= 100
