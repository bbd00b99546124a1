"""Static analysis: the right loop is found, and llvm-mca's answer is read right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from needed import missing
from onnx import TensorProto, helper, numpy_helper

from benchmarks.arm import static, static_loops

ASSEMBLY = """
kernel:
.Lfunc_begin0:
	mov	x8, xzr
.LBB0_1:
	mov	x9, xzr
	.p2align	4
.LBB0_2:                                // inner
	ldr	q0, [x1, x9]
	fmla	v1.4s, v0.4s, v2.s[0]
	fmla	v3.4s, v0.4s, v2.s[1]
	add	x9, x9, #16
	cmp	x9, #64
	b.ne	.LBB0_2
.LBB0_3:
	fmla	v4.4s, v1.4s, v5.4s
	cbnz	x10, .LBB0_3
	add	x8, x8, #1
	cbnz	x8, .LBB0_1
	ret
.Lfunc_end0:
other:
	ret
"""


@pytest.fixture
def mca() -> None:
    try:
        static_loops.program()
    except static_loops.McaError as error:
        missing(str(error))


def block(count: int, text: str) -> list[str]:
    return [text.format(i) for i in range(count)]


def test_the_loop_with_the_arithmetic_is_found() -> None:
    (name, body), (other, _) = static_loops.functions(ASSEMBLY)
    assert (name, other) == ("kernel", "other")
    loop = static_loops.hottest_loop(body)
    assert loop is not None
    assert loop.macs == 8
    assert len(loop.lines) == 6 and loop.lines[-1].startswith("b.ne")


def test_a_loop_of_the_epilogue_is_left_out_of_an_unrolled_reduction() -> None:
    body = [
        ".LBB0_1:",
        "sdot v0.4s, v1.16b, v2.4b[0]",
        ".LBB0_2:",
        "fadd v3.4s, v3.4s, v0.4s",
        "b.ne .LBB0_2",
        "b.ne .LBB0_1",
    ]
    loop = static_loops.hottest_loop(body)
    assert loop is not None
    assert loop.lines == ("sdot v0.4s, v1.16b, v2.4b[0]", "b.ne .LBB0_1")
    assert loop.macs == 16
    assert static_loops.hottest_loop(["ret"]) is None


def test_peaks_are_those_of_the_cores(mca: None) -> None:
    assert static_loops.peak("cortex-a72", False, ("neon",)) == pytest.approx(4, rel=0.01)
    assert static_loops.peak("cortex-a72", True, ("neon",)) == pytest.approx(8, rel=0.01)
    assert static_loops.peak("cortex-a76", True, ("neon", "dotprod")) == pytest.approx(32, rel=0.01)
    features = ("neon", "dotprod", "i8mm")
    assert static_loops.peak("neoverse-v1", True, features) == pytest.approx(128, rel=0.01)


def test_a_chain_is_slower_than_independent_instructions(mca: None) -> None:
    chain = static_loops.Loop(tuple(block(8, "fmla v0.4s, v30.4s, v31.4s")), 32)
    apart = static_loops.Loop(tuple(block(8, "fmla v{0}.4s, v30.4s, v31.4s")), 32)
    rates = [static_loops.macs_per_cycle(loop, "neoverse-v1") for loop in (chain, apart)]
    assert rates[0] < rates[1] / 3


def test_without_llvm_mca_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(static_loops, "PROGRAMS", ("no-such-program",))
    monkeypatch.delenv("LLVM_MCA", raising=False)
    assert static.main(["net.onnx"]) == 2
    assert "apt-get install llvm-19" in capsys.readouterr().err


def small_network(path: Path) -> Path:
    rng = np.random.default_rng(0)
    weights = {
        "a": rng.standard_normal((32, 16, 3, 3)).astype(np.float32),
        "b": rng.standard_normal((24, 32, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["y"], pads=[1] * 4, strides=[2, 2], name="first"),
        helper.make_node("Conv", ["y", "b"], ["z"], name="second"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 28, 28])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 24, 14, 14])],
        [numpy_helper.from_array(weight, name) for name, weight in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.mark.parametrize(
    ("target", "quant", "least"),
    [
        ("rpi4", "none", 0.9),
        ("rpi4", "int8", 0.75),
        ("rpi5", "int8", 0.9),
        ("graviton3", "int8", 0.7),
        ("graviton3", "none", 0.7),
    ],
)
def test_a_network(
    mca: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    target: str,
    quant: str,
    least: float,
) -> None:
    model = small_network(tmp_path / "net.onnx")
    options = ["--target", target, "--quant", quant, "--json", "--loops", str(tmp_path / "loops")]
    assert static.main([str(model), *options, "--at-least", str(least)]) == 0
    found = json.loads(capsys.readouterr().out)
    convolutions = found["kernels"]
    assert {k["dtype"] for k in convolutions} == {"int8" if quant == "int8" else "float32"}
    by_kind = {k["kind"]: k["macs"] for k in convolutions}
    assert by_kind == {"1x1": 14 * 14 * 32 * 24, "3x3": 14 * 14 * 9 * 16 * 32}
    assert all(0 < k["share"] <= 1.01 for k in convolutions)
    assert len(list((tmp_path / "loops").iterdir())) == 2
