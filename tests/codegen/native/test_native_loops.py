"""Loops as loops of C: the virtual machine's bits, and on small bodies numpy's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from loop_cases import LoopCase
from native_runs import emitted, run, run_native
from passes.relax_modules import tensor

from tvmcomp.frontend import load_model
from tvmcomp.loops import LOOP_BODY, LoopForm, loop
from tvmcomp.passes.pipeline import canonical
from tvmcomp.tvm_import import tvm

relax, op = tvm.relax, tvm.relax.op
TEN = tensor((10,), "float32")


def looped(form, build_body, begin, types=None):
    """``main`` of x (10) float32, trips int64 and going bool, which gives what the loop gives.

    Args:
        form: what the loop is.
        build_body: given ``emit``, the trip's number and the other operands.
        begin: given x, what the states begin with, then what else the body reads.
    """
    body, main = relax.BlockBuilder(), relax.BlockBuilder()
    x = relax.Var("x", TEN)
    operands = begin(x)
    params = [relax.Var("i", tensor((), "int64"))]
    params += [relax.Var(f"operand{i}", TEN) for i in range(len(operands))]
    with body.function("main", params):
        with body.dataflow():
            result = body.emit_output(relax.Tuple(build_body(body.emit, *params)))
        body.emit_func_output(result)
    trips, going = relax.Var("trips", tensor((), "int64")), relax.Var("going", tensor((), "bool"))
    with main.function("main", [x, trips, going]):
        with main.dataflow():
            result = main.emit_output(main.emit(loop(form, trips, going, operands)))
        main.emit_func_output(result)
    mod = main.get()
    function = body.get()["main"].with_attr("global_symbol", form.body).with_attr(LOOP_BODY, 0)
    mod[tvm.ir.GlobalVar(form.body)] = function
    return mod


X = np.arange(10, dtype="float32")


def form(states, trips, conditional=False, rows=0):
    shapes = [(10,)] * states + [(trips, 10)] * rows
    return LoopForm("b__body", shapes, ["float32"] * len(shapes), states, trips, conditional)


@pytest.mark.parametrize("trips", [1, 2, 7])
def test_a_fixed_number_of_trips(trips):
    """A state that a kernel makes new, and rows of what it was."""

    def body(emit, i, s, x):
        return [emit(op.add(s, x)), s]

    mod = looped(form(1, trips, rows=1), body, lambda x: [x, x])
    state, rows = run(mod, X, np.int64(0), np.array(False))
    np.testing.assert_array_equal(state, X * (trips + 1))
    np.testing.assert_array_equal(rows, X * np.arange(1, trips + 1)[:, None])


@pytest.mark.parametrize(
    ("trips", "going"), [(0, True), (3, True), (5, True), (9, True), (3, False)]
)
def test_trips_that_data_bound(trips, going):
    """At most five; rows that are not run are zero."""

    def body(emit, i, s):
        more = emit(op.less(i, relax.const(100, "int64")))
        new = emit(op.add(s, s))
        return [more, new, new]

    mod = looped(form(1, 5, conditional=True, rows=1), body, lambda x: [x])
    # The machine's functions of trips would run 8 of 9.
    state, rows = run_native(*emitted(mod), [X, np.int64(trips), np.array(going)])
    ran = min(trips, 5) if going else 0
    np.testing.assert_array_equal(state, X * 2**ran)
    wanted = [X * 2 ** (i + 1) if i < ran else 0 * X for i in range(5)]
    np.testing.assert_array_equal(rows, wanted)


@pytest.mark.parametrize("last", [0, 1, 6])
def test_a_condition_ends_it(last):
    """No bound but the condition."""

    def body(emit, i, s, x):
        return [emit(op.less(i, relax.const(last, "int64"))), emit(op.add(s, x))]

    mod = looped(form(1, 0, conditional=True), body, lambda x: [x, x])
    (state,) = run(mod, X, np.int64(2**62), np.array(True))
    np.testing.assert_array_equal(state, X * (last + 2))


def test_states_that_change_places():
    """Each is what another was; one stays, one is what the loop reads, two are one tensor."""

    def body(emit, i, a, b, c, stays, read, one, same, outer):
        new = emit(op.add(one, outer))
        return [b, c, a, stays, outer, new, new]

    mod = looped(form(7, 4), body, lambda x: [x, op.add(x, x), op.negative(x), x, x, x, x, x])
    a, b, c, stays, read, one, same = run(mod, X, np.int64(0), np.array(True))
    for got, wanted in ((a, 2 * X), (b, -X), (c, X), (stays, X), (read, X), (one, 5 * X)):
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(same, one)


def test_a_state_that_views_another():
    """A reshape of the next state is the same memory."""

    def body(emit, i, a, b):
        new = emit(op.add(a, b))
        return [new, emit(op.reshape(emit(op.reshape(new, (5, 2))), (10,)))]

    mod = looped(form(2, 3), body, lambda x: [x, x])
    a, b = run(mod, X, np.int64(0), np.array(True))
    np.testing.assert_array_equal(a, 8 * X)
    np.testing.assert_array_equal(b, 8 * X)


def test_what_a_trip_reads_stays():
    """Places of what lies outside of the loop are not given to what a trip writes."""

    def body(emit, i, s, x, square):
        wide = emit(op.concat([s, x, square, s, x]))
        narrow = emit(op.sum(emit(op.reshape(emit(op.nn.softmax(wide)), (5, 10))), [0]))
        return [emit(op.add(op.multiply(narrow, square), s)), narrow]

    mod = looped(form(1, 6, rows=1), body, lambda x: [x, op.negative(x), op.multiply(x, x)])
    run(mod, X / 10, np.int64(0), np.array(True))


def test_the_driver_has_a_loop_and_no_function_of_trips():
    def body(emit, i, s):
        return [emit(op.add(s, s))]

    lowered, code = emitted(looped(form(1, 1000), body, lambda x: [x]))
    assert "for (; trip0 < 1000; trip0++) {" in code.driver
    assert [name for name in code.kernel_names[0] if "between_trips" in name] == []
    (state,) = run_native(lowered, code, [X * 0, np.int64(0), np.array(True)])
    np.testing.assert_array_equal(state, X * 0)


@pytest.mark.parametrize("seed", range(6))
def test_random_loops(seed):
    case = LoopCase(seed)
    model = load_model(case.model)
    inputs = [case.feeds[spec.name] for spec in model.signature.inputs]
    run(canonical(model.mod), *inputs)
