"""A kernel alone, as a network of its own: built, timed in turns, and compared."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from tvmcomp.runtime.buffers import Places
from tvmcomp.tuning.jobs import Build, Built, Compare, Compared, Measure, Measured
from tvmcomp.tuning.judge import wins
from tvmcomp.tuning.single_kernels import KernelHere
from tvmcomp.tuning.space import module_text, point
from tvmcomp.tuning.task import arguments_of, module_of
from tvmcomp.tuning.timing import _scattered
from tvmcomp.tuning.worker import perform
from tvmcomp.tvm_import import tvm


@pytest.fixture(scope="module")
def sums():
    """Sums of the columns of a matrix: in columns a tenth as fast as in rows."""
    from tvm import te

    x = te.placeholder((512, 2048), name="x")
    k = te.reduce_axis((0, 512), name="k")
    return te.create_prim_func([x, te.compute((2048,), lambda j: te.sum(x[k, j], k), name="y")])


@pytest.fixture(scope="module")
def good_and_bad(sums, native, tmp_path_factory):
    """Libraries of two schedules of it."""
    good, bad = tvm.s_tir.Schedule(module_of(sums)), tvm.s_tir.Schedule(module_of(sums))
    column, row = good.get_loops(good.get_sblock("y"))
    outer, lanes = good.split(column, [None, 64])
    good.reorder(outer, row, lanes)
    good.decompose_reduction(good.get_sblock("y"), row)
    paths = []
    for name, schedule in {"good": good, "bad": bad}.items():
        paths.append(str(tmp_path_factory.mktemp("kernels") / f"{name}.so"))
        text = str(tvm.ir.save_json(schedule.mod))
        made = perform(Build(text, native, None, paths[-1], arguments=arguments_of(sums)))
        assert isinstance(made, Built), made
    return tuple(paths)


def test_it_computes_what_it_should_on_unaligned_pages(good_and_bad):
    x = np.random.default_rng(0).standard_normal((512, 2048)).astype("float32")
    for path in good_and_bad:
        tensors = Places([_scattered(x), _scattered(np.zeros(2048, "float32"))])
        with KernelHere(path) as kernel:
            assert kernel.time(tensors) > 0
        np.testing.assert_allclose(tensors.arrays[1], x.sum(0), rtol=1e-4, atol=1e-4)


def test_a_slower_kernel_loses(good_and_bad, sums, native):
    reply = perform(Measure(good_and_bad, arguments_of(sums), native, rounds=7))
    assert isinstance(reply, Measured), reply
    good, bad = reply.run_secs
    assert wins(good, bad) and not wins(bad, good)


def test_both_compute_the_same(good_and_bad, sums, native):
    assert perform(Compare(*good_and_bad, arguments_of(sums), native)) == Compared("")


def test_a_library_has_the_runtime_and_what_tvms_loader_finds(good_and_bad):
    library = ctypes.CDLL(good_and_bad[0])
    assert library.tvmcomp_create and library.__getattr__("__tvm_ffi_open")


def test_kernels_for_a_network_come_without(relu, relu_space, native, tmp_path):
    path = str(tmp_path / "kernels.so")
    made = perform(Build(module_text(point(relu_space, relu)), native, None, path, form="kernels"))
    assert isinstance(made, Built)
    library = ctypes.CDLL(path)
    assert library.main and not hasattr(library, "tvmcomp_create")
