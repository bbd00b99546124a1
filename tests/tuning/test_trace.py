import copy
import json
import random

import pytest
import tvm_ffi

from tvmcomp.tuning.rebuild import apply_record
from tvmcomp.tuning.space import point
from tvmcomp.tuning.task import normalize
from tvmcomp.tuning.trace import apply_trace, check_trace


@pytest.fixture
def candidate(relu, relu_space):
    return point(relu_space, relu)


def test_a_trace_rebuilds_the_same_schedule(relu, candidate):
    trace = json.loads(json.dumps(candidate.trace))
    again = apply_trace(trace, relu)
    assert tvm_ffi.structural_equal(again.mod, candidate.schedule.mod)


def test_scheduling_leaves_the_function_alone(relu, relu_space):
    before = tvm_ffi.structural_hash(relu)
    for length in (4, 8, 16):
        point(relu_space, normalize(relu), {"length": length})
    assert tvm_ffi.structural_hash(relu) == before


def test_a_record_that_does_not_fit_is_none_with_a_reason(
    matmul, candidate, relu, make_trial, caplog
):
    record = make_trial(relu, trace=candidate.trace)
    assert apply_record(record, relu) is not None
    assert apply_record(record, matmul) is None
    assert "not used" in caplog.text


@pytest.mark.parametrize(
    "trace",
    [
        None,
        [],
        [[]],
        {"a": 1},
        [[["GetSBlock"]], []],
        [[["GetSBlock", [], ["y", "main"], [1]]], []],
        # An index outside makes TVM write outside of its array.
        [[["GetSBlock", [], ["y", "main"], ["b0"]]], [[1, 0]]],
        [[["GetSBlock", [], ["y", "main"], ["b0"]]], [[-1, 0]]],
        [[["GetSBlock", [], ["y", "main"], ["b0"]]], [[10**9, 0]]],
        [[], [[0, 0]]],
        [[["GetSBlock", [], ["y", None], ["b0"]]], []],
        [[["UnsafeSetDType", ["b0"], [0, "int8"], []]], []],
        [[["__import__", [], [], []]], []],
        [[["Annotate", ["b0", "void f(){}"], ["pragma_import_c"], []]], []],
    ],
    ids=str,
)
def test_what_must_not_reach_tvm_is_refused(trace):
    with pytest.raises(ValueError, match=r"."):
        check_trace(trace)


def _leaves(value, path=()):
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    else:
        yield path


def test_damaged_traces_are_refused_and_crash_nothing(relu, candidate, make_trial):
    """Values of a good trace are replaced at random by others: it applies, or None comes back."""
    choose = random.Random(0)
    paths = list(_leaves(candidate.trace))
    strange = [None, 0, -1, 2**62, 1.5, "", "b0", "l1", "None", "{", "{}", [], [[]], True, "y", {}]
    for _ in range(300):
        trace = copy.deepcopy(candidate.trace)
        for path in choose.sample(paths, choose.randint(1, 3)):
            place = trace
            for index in path[:-1]:
                place = place[index]
            place[path[-1]] = choose.choice(strange)
        apply_record(make_trial(relu, trace=trace), relu)
