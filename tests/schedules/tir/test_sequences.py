"""TVM's marks of sequences are no part of what is compiled."""

from __future__ import annotations

import pytest

from tvmcomp import schedules, targets
from tvmcomp.schedules.tir.sequences import unmarked_sequences
from tvmcomp.tvm_import import tvm

T = tvm.script.tirx


@T.prim_func(s_tir=True)
def marked(data: T.Buffer((8,), "float32")):
    with T.attr(0, "pragma_scope", "seq"):
        for i in range(4):
            data[i] = T.float32(0)
        for i in range(4):
            data[i + 4] = T.float32(1)


@T.prim_func(s_tir=True)
def unmarked(data: T.Buffer((8,), "float32")):
    for i in range(4):
        data[i] = T.float32(0)
    for i in range(4):
        data[i + 4] = T.float32(1)


def test_the_statements_stay() -> None:
    after = unmarked_sequences(tvm.IRModule({"main": marked}))["main"]
    tvm.ir.assert_structural_equal(after, unmarked.with_attr("global_symbol", "marked"))


def test_no_warning_reaches_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    assert schedules  # it registers the pass
    tvm.compile(marked, tvm.target.Target(targets.detect().tvm_target_dict()))
    assert "pragma" not in "".join(capfd.readouterr())
