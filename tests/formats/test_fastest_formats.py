"""Builds whose formats are chosen by times: the tests' own, and this machine's."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tvmcomp
from tvmcomp.formats import comparison
from tvmcomp.formats.attribute import kernel_calls
from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.tuning.log.places import open_log
from tvmcomp.tuning.log.record import Comparison, Target, Timing, Versions, Workload, now

RNG = np.random.default_rng(0)
SAMPLES = [{"x": RNG.standard_normal((1, 8, 12, 12)).astype("float32")} for _ in range(8)]


def network() -> onnx.ModelProto:
    """Two convolutions and a product, each with something behind it."""
    weights = {
        "w0": RNG.standard_normal((16, 8, 3, 3)),
        "w1": RNG.standard_normal((16, 16, 1, 1)),
        "w2": RNG.standard_normal((16, 10)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1] * 4, strides=[2, 2], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "w1"], ["c"], name="second"),
        helper.make_node("Relu", ["c"], ["d"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["d"], ["e"], name="pool"),
        helper.make_node("Flatten", ["e"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "w2"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(w.astype("float32"), name) for name, w in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


MODEL = network()


def build(log, formats="fastest", **options):
    return tvmcomp.build(
        MODEL, quant="int8", calibration=SAMPLES, log=log, formats=formats, reference=False,
        **options,
    )  # fmt: skip


def weights_in(artifact):
    return {op.name: op.dtype for op in artifact.metadata.operators if op.macs}


@pytest.fixture
def clock(monkeypatch):
    """Sets what networks take: milliseconds by the format's name, and of each call by the order in
    which the network's convolutions and products come."""

    def set_times(whole, calls):
        asked, all_asked = [], []

        class Clock(comparison.Clock):
            def _measured(self, name, variants, by_call):
                all_asked.append([variant.format for variant in variants])
                asked.append([each for each in all_asked[-1] if each != "bfloat16"])
                return super()._measured(name, variants, by_call)

        def turns(sessions):
            # A machine that has bfloat16 tries it, too: here it takes longest.
            return [(1e-3 * whole.get(each, 99.0),) * 9 for each in all_asked[-1]]

        profiled = iter(("int8", "float32", "bfloat16"))

        def seconds(kernel_calls, _profiled, _runs):
            per_anchor = calls.get(next(profiled), {})
            return tuple(
                1e-3 * next((ms for name, ms in per_anchor.items() if _has(call, name)), 0.0)
                for call in kernel_calls
            )

        monkeypatch.setattr("tvmcomp.formats.fastest.Clock", Clock)
        monkeypatch.setattr(comparison, "time_in_turns", turns)
        monkeypatch.setattr(comparison, "seconds_of_calls", seconds)
        return asked

    return set_times


def _has(call, operator):
    """Whether it is the anchor's own call, and not what makes its border."""
    return operator in call.kernel and "_pad" not in call.kernel


def alike(ms):
    return {"first": ms, "second": ms, "gv": ms}


def test_integers_that_are_faster_stay(clock, tmp_path):
    asked = clock({"int8": 3.0, "float32": 3.9}, {"int8": alike(1.0), "float32": alike(1.3)})
    artifact = build(tmp_path)
    assert set(weights_in(artifact).values()) == {"int8"}
    assert asked == [["int8", "float32"]]
    figures = artifact.metadata.calibration["formats"]
    assert (figures["by"], figures["chosen"]) == ("clock", "int8")
    assert figures["ms"].items() >= {"int8": 3.0, "float32": 3.9}.items()
    assert figures["operators"]["second"] == {"chosen": "int8", "int8_ms": 1.0, "float32_ms": 1.3}


def test_float_that_is_faster_as_a_whole(clock, tmp_path):
    clock({"int8": 3.9, "float32": 3.0}, {"int8": alike(1.3), "float32": alike(1.0)})
    artifact = build(tmp_path)
    assert set(weights_in(artifact).values()) == {"float32"}
    reasons = {op.name: op.reason for op in artifact.metadata.operators}
    assert reasons["second"] == "faster in float32: 1 ms, 1.3 in int8"
    plain = tvmcomp.build(MODEL, log="none", reference=False)
    x = SAMPLES[0]["x"]
    # Weights keep 8 bits, and the file has them coded, in less than half of the bytes.
    assert artifact.constants_nbytes_in_file < plain.constants_nbytes_in_file / 2
    with tvmcomp.load(artifact) as one, tvmcomp.load(plain) as other:
        found, exact = one.run({"x": x})["y"], other.run({"x": x})["y"]
    assert np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


def test_a_mixture_that_is_faster_than_both(clock, tmp_path):
    calls = {
        "int8": {"first": 9.0, "second": 1.0, "gv": 1.0},
        "float32": {"first": 3.0, "second": 5.0, "gv": 5.0},
    }
    asked = clock({"int8": 11.0, "float32": 13.0, "mixed": 6.0}, calls)
    artifact = build(tmp_path)
    assert asked == [["int8", "float32"], ["int8", "mixed"]]
    assert weights_in(artifact) == {"first": "float32", "second": "int8", "gv": "int8"}
    assert artifact.metadata.calibration["formats"]["ms"]["mixed"] == pytest.approx(6.0)
    assert artifact.metadata.calibration["sqnr_db"] > 20
    (note,) = [note for note in artifact.metadata.notes if note.startswith("formats by the clock")]
    assert "2 operators with weights in int8, 1 in float32" in note


def test_a_mixture_that_is_not_as_fast_as_it_should_be(clock, tmp_path):
    calls = {
        "int8": {"first": 9.0, "second": 1.0, "gv": 1.0},
        "float32": {"first": 3.0, "second": 5.0, "gv": 5.0},
    }
    clock({"int8": 11.0, "float32": 13.0, "mixed": 11.0}, calls)
    assert set(weights_in(build(tmp_path)).values()) == {"int8"}


def test_what_was_measured_once_is_not_measured_again(tmp_path, monkeypatch):
    first = build(tmp_path)
    lines = [entry.summary.type for entry in open_log([tmp_path, "none"]).entries()]
    assert lines and set(lines) == {"comparison"}

    def refuse(*_arguments):
        raise AssertionError("measured again")

    monkeypatch.setattr(comparison, "time_in_turns", refuse)
    again = build(tmp_path, formats="unmeasured")
    assert weights_in(again) == weights_in(first)
    figures = first.metadata.calibration["formats"]
    assert again.metadata.calibration["formats"] == figures and figures["by"] == "clock"
    assert again.library == first.library


def test_a_target_that_is_not_at_hand_is_modelled():
    artifact = build("none", target="riscv64")
    assert set(weights_in(artifact).values()) == {"float32"}
    assert artifact.metadata.calibration["formats"]["by"] == "model"
    reasons = [op.reason for op in artifact.metadata.operators if op.macs]
    assert all("cycles by a model" in reason for reason in reasons)


def test_as_asked_nothing_is_compared(tmp_path):
    artifact = build(tmp_path, formats="asked")
    assert "formats" not in artifact.metadata.calibration
    assert set(weights_in(artifact).values()) == {"int8"} and not list(tmp_path.iterdir())


def test_a_log_of_another_machine_does_not_decide(clock, tmp_path):
    clock({"int8": 3.9, "float32": 3.0}, {"int8": alike(1.3), "float32": alike(1.0)})
    build(tmp_path)
    (path,) = tmp_path.rglob("*.jsonl")
    path.write_text(path.read_text().replace('"cpu":"', '"cpu":"Another '))
    asked = clock({"int8": 3.0, "float32": 3.9}, {"int8": alike(1.0), "float32": alike(1.3)})
    assert set(weights_in(build(tmp_path)).values()) == {"int8"} and asked


@pytest.mark.parametrize(("noise", "chosen"), [(1e-3, "bfloat16"), (1e3, "int8")])
def test_bfloat16_where_the_guard_allows_it(monkeypatch, noise, chosen):
    """For a machine that this one need not be: times, and what the network gives, are made up."""
    exact = tvmcomp.load(tvmcomp.build(MODEL, log="none", reference=False))
    ms = {"int8": 3.0, "float32": 5.0, "bfloat16": 2.0}

    class Clock(comparison.Clock):
        can_run = True

        def _measured(self, name, variants, by_call):
            networks = tuple(
                Timing(
                    each.format,
                    each.code,
                    (1e-3 * ms[each.format],) * 9,
                    (1e-4,) * len(kernel_calls(each.lowered)),
                )
                for each in variants
            )
            return Comparison(
                workload=Workload(name, "made up", ()),
                versions=Versions.here(),
                date=now(),
                target=Target.of(self.workshop.target),
                device=Fingerprint("made up"),
                networks=networks,
            )

        def outputs(self, variant, inputs):
            assert variant.format == "bfloat16"
            found = exact.run({"x": inputs[0]})["y"]
            return [found + noise * np.random.default_rng(0).standard_normal(found.shape)]

    monkeypatch.setattr("tvmcomp.formats.fastest.Clock", Clock)
    artifact = build("none", target="sapphirerapids")
    assert set(weights_in(artifact).values()) == {chosen}
    assert artifact.metadata.calibration["formats"]["chosen"] == chosen
    assert artifact.metadata.calibration["sqnr_db"] > 20
