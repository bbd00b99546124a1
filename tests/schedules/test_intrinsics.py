"""A tensor intrinsic is found by the name that a trace gives it, in a process that is new."""

import sys

import pytest
from waiting import run

from tvmcomp.schedules.intrinsics import _REGISTER, register_named
from tvmcomp.tvm_import import tvm

_FRESH = """
import sys
from tvmcomp.schedules.intrinsics import register_named
from tvmcomp.tvm_import import tvm
for name in sys.argv[1:]:
    assert tvm.s_tir.TensorIntrin.get(name, allow_missing=True) is None, name
    register_named(name)
    assert tvm.s_tir.TensorIntrin.get(name, allow_missing=True) is not None, name
"""
NUMBERS = {
    "vpdpbusd": "_16",
    "vpmaddwd": "_8",
    "vpmaddwd_words": "_8",
    "vpmaddwd_columns": "_8_3_1",
    "vpdpbusd_columns": "_16_3_1",
    "sdot_columns": "_8_3_2",
}


def test_every_one_is_registered_by_its_name():
    names = [name + NUMBERS.get(name.rpartition(".")[2], "") for name in _REGISTER]
    run([sys.executable, "-c", _FRESH, *names])


@pytest.mark.parametrize(
    "name", ["", "x", "dot_16x4_vnni", "tvmcomp.arm.sdot_columns_999999999_4_1"]
)
def test_other_names_are_left_alone(name):
    before = tvm.s_tir.TensorIntrin.get(name, allow_missing=True)
    register_named(name)
    after = tvm.s_tir.TensorIntrin.get(name, allow_missing=True)
    assert after is None if before is None else after.same_as(before)
    # TVM's own are there only once somebody asks for them; ours have names that are ours.
    assert after is None or not name.startswith("tvmcomp.")
