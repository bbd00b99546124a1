"""Small kernels with a design space each, and a target for them."""

from __future__ import annotations

import pytest

from tvmcomp import targets
from tvmcomp.schedules import Decide
from tvmcomp.targets.fingerprint import local_fingerprint
from tvmcomp.tuning.log.record import Target, Trial, Versions, Workload, now
from tvmcomp.tuning.task import arguments_of, workload_hash
from tvmcomp.tvm_import import tvm


@pytest.fixture(scope="session")
def native():
    return targets.load("native")


@pytest.fixture
def relu():
    """max(x * 2 + 1, 0) on 64 x 256 floats."""
    from tvm import te

    x = te.placeholder((64, 256), name="x")
    y = te.compute((64, 256), lambda i, j: te.max(x[i, j] * 2.0 + 1.0, 0.0), name="y")
    return te.create_prim_func([x, y])


@pytest.fixture
def matmul():
    """A 64 x 64 matrix product, which no space below has a schedule for."""
    from tvm import te

    a, b = te.placeholder((64, 64), name="a"), te.placeholder((64, 64), name="b")
    k = te.reduce_axis((0, 64), name="k")
    c = te.compute((64, 64), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="c")
    return te.create_prim_func([a, b, c])


def relu_space(schedule: tvm.s_tir.Schedule, decide: Decide) -> str:
    """Three points: the vector length."""
    try:
        block = schedule.get_sblock("y")
    except tvm.s_tir.ScheduleError:
        return ""
    rows, columns = schedule.get_loops(block)
    length = decide(schedule, "length", [4, 8, 16], 8)
    schedule.parallel(rows)
    schedule.vectorize(schedule.split(columns, [None, length])[1])
    return "relu"


@pytest.fixture(name="relu_space")
def _relu_space():
    return relu_space


@pytest.fixture
def make_trial(native):
    """A function that makes a record of a PrimFunc out of thin air."""

    def make(func, seconds=(0.002, 0.001, 0.003), *, trace=((), ()), target=native, **fields):
        fields.setdefault("device", local_fingerprint())
        fields.setdefault("versions", Versions.here())
        return Trial(
            workload=Workload(workload_hash(func), "kernel", arguments_of(func)),
            target=Target.of(target),
            date=now(),
            trace=[list(part) for part in trace],
            run_secs=tuple(seconds),
            **fields,
        )

    return make
