"""The comparison with the peers: engines in processes, turns, the cache, ratios."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from rich.console import Console

from benchmarks.peers import __main__ as peers
from benchmarks.peers import batches
from benchmarks.peers import cases as peers_cases
from benchmarks.peers import engines as peers_engines
from benchmarks.peers import models as peers_models
from benchmarks.peers.disturbance import Disturbance
from benchmarks.peers.isa import Isa, cpu_flags, isas
from benchmarks.peers.report import Heat, failures, heat_rows, print_report, summaries
from benchmarks.peers.turns import Contestant, Engine, error_share, take_turns
from benchmarks.zoo.packages import ZooError

NATIVE = Isa("native", "", reduce_range=False)
HELD = Isa("x86-64-v3", "AVX2", reduce_range=False)


def contestant(engine: str, ms: float, precision: str = "fp32") -> Contestant:
    """One that was measured."""
    return Contestant(
        engine, precision, Path("net"), blocks=[ms, ms], outputs={"y": np.ones((1, 2))}
    )


def heat(*contestants: Contestant, network: str = "net") -> Heat:
    return Heat(network, 1, True, contestants, {}, disturbance=0.0)


def test_engines_take_turns_and_one_that_fails_says_why(tiny: Path, zoo_cache: Path) -> None:
    case = peers_cases.load(str(tiny))
    good = Contestant("onnxruntime", "fp32", tiny)
    missing = Contestant("onnxruntime", "fp32", tiny.with_name("missing.onnx"))
    take_turns([missing, good], case.inputs, 1, rounds=3, block_seconds=0.01, environment={})
    assert len(good.blocks) == 3
    assert 0 < good.ms < 100 and good.load_ms > 0 and 10 < good.peak_mib < 500
    np.testing.assert_array_equal(good.outputs["y"], np.maximum(case.inputs["x"], 0) + 1)
    assert "missing.onnx" in missing.failure and not missing.blocks


def test_an_engine_that_dies_between_blocks_leaves_the_others_running(
    tiny: Path, zoo_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = Contestant("onnxruntime", "fp32", tiny)
    lived = Contestant("onnxruntime", "fp32", tiny)
    original = Engine.block

    def block(engine: Engine, seconds: float) -> list[float]:
        if engine.contestant is died and died.blocks:
            engine._process.kill()
        return original(engine, seconds)

    monkeypatch.setattr(Engine, "block", block)
    inputs = peers_cases.load(str(tiny)).inputs
    take_turns([died, lived], inputs, 1, rounds=3, block_seconds=0.01, environment={})
    assert died.failure and len(died.blocks) == 1
    assert not lived.failure and len(lived.blocks) == 3


def test_block_runs_at_least_three_times_after_warming_up() -> None:
    calls = []
    assert len(peers_engines.block(lambda: calls.append(1), 0)) == 3
    assert len(calls) == 5


def test_aligned_is_an_aligned_copy() -> None:
    array = np.arange(12, dtype=np.int64).reshape(3, 4)
    copy = peers_engines.aligned(array)
    np.testing.assert_array_equal(copy, array)
    assert copy.ctypes.data % 64 == 0 and copy.dtype == array.dtype


def test_ratio_is_to_the_faster_peer() -> None:
    entered = [contestant("tvmcomp", 2), contestant("onnxruntime", 3), contestant("openvino", 5)]
    (row,) = heat_rows(heat(*entered), NATIVE)
    assert row["ratios"] == {"onnxruntime": 1.5, "openvino": 2.5}
    assert row["ratio"] == 1.5
    (row,) = heat_rows(heat(*entered), HELD)  # ONNX Runtime can't be held, so it doesn't count
    assert row["ratio"] == 2.5 and row["ratios"]["onnxruntime"] == 1.5


def test_ratio_is_paired_by_round() -> None:
    ours, theirs = contestant("tvmcomp", 0), contestant("openvino", 0)
    ours.blocks, theirs.blocks = [1.0, 10.0, 2.0], [2.0, 20.0, 8.0]  # disturbed, round by round
    (row,) = heat_rows(heat(ours, theirs), NATIVE)
    assert row["ratio"] == 2.0


def test_disturbance_is_what_others_take() -> None:
    disturbance = Disturbance()
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    assert disturbance.share(0.0) > disturbance.share(0.3) >= 0


def test_int8_is_compared_with_our_own_float_too() -> None:
    rows = heat_rows(
        heat(
            contestant("tvmcomp", 4),
            contestant("tvmcomp", 5, "int8"),
            contestant("openvino", 10, "int8"),
        ),
        NATIVE,
    )
    assert rows[1]["own_fp32_ratio"] == 0.8
    (summary,) = summaries(rows)  # nothing to compare the float row with
    assert summary["slower_than_own_fp32"] == ["net"]


def test_summary_is_the_geometric_mean_of_what_was_measured() -> None:
    rows = []
    for network, ours in (("a", 1.0), ("b", 4.0)):
        entered = (contestant("tvmcomp", ours), contestant("openvino", 2.0))
        rows += heat_rows(heat(*entered, network=network), NATIVE)
    failed = Contestant("tvmcomp", "fp32", Path("net"), failure="no memory")
    rows += heat_rows(heat(failed, contestant("openvino", 2), network="c"), NATIVE)
    (summary,) = summaries(rows)
    assert summary["geometric_mean"] == pytest.approx(1.0)
    assert summary["minimum"] == 0.5 and summary["minimum_network"] == "b"
    assert (summary["networks"], summary["of"]) == (2, 3)
    assert failures(rows) == ["c fp32, 1 threads: tvmcomp: no memory"]


def test_no_ratio_where_a_peer_failed() -> None:
    failed = Contestant("openvino", "fp32", Path("net"), failure="not installed")
    entered = (contestant("tvmcomp", 1), contestant("onnxruntime", 2), failed)
    (row,) = heat_rows(heat(*entered), NATIVE)
    assert row["ratios"] == {"onnxruntime": 2.0}
    assert row["ratio"] is None and summaries([row]) == []


def test_error_is_noise_over_deviation_of_the_worst_output() -> None:
    reference = {"a": np.array([[0.0, 4.0]]), "b": np.array([[1.0, 1.0]])}
    outputs = {"x": np.array([[1.0, 5.0]]), "y": np.ones((1, 2))}  # off by one; deviation two
    assert error_share(outputs, reference) == 0.5


def test_files_are_made_once_for_the_same_source(tiny: Path, zoo_cache: Path) -> None:
    case = peers_cases.load(str(tiny))
    made = peers_models.make(case, "onnxruntime", "fp32", NATIVE)
    first = made.path.stat().st_mtime_ns
    assert peers_models.make(case, "openvino", "bf16", NATIVE).path == made.path
    assert made.path.stat().st_mtime_ns == first
    peers_models.make(case, "onnxruntime", "fp32", NATIVE, rebuild=True)
    second = made.path.stat().st_mtime_ns
    assert second > first
    model = onnx.load(tiny)
    model.producer_name = "changed"
    onnx.save(model, tiny)
    assert not peers_models.make(case, "onnxruntime", "fp32", NATIVE, stale=True).stale
    assert made.path.stat().st_mtime_ns > second


def test_dynamic_shapes_are_fixed_for_the_peers(tiny: Path, zoo_cache: Path) -> None:
    model = onnx.load(tiny)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    onnx.save(model, tiny)
    with pytest.raises(ZooError, match="not of a fixed shape"):
        peers_cases.load(str(tiny))
    case = peers_cases.Case("tiny", tiny, {"x": (1, 3, 8, 8)}, {}, {}, False)
    made = peers_models.make(case, "onnxruntime", "fp32", NATIVE)
    dims = onnx.load(made.path).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims] == [1, 3, 8, 8]


def test_a_failed_build_names_its_reason(tiny: Path, zoo_cache: Path) -> None:
    case = dataclasses.replace(peers_cases.load(str(tiny)), shapes={"x": (1, 3, 9, 8)})
    with pytest.raises(ZooError, match="failed"):
        peers_models.make(case, "tvmcomp", "fp32", NATIVE)
    assert not list((zoo_cache / "peers").glob("*.tvmc"))


def test_whole_comparison(
    tiny: Path, zoo_cache: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    call = [str(tiny), "--engines", "tvmcomp,onnxruntime", "--threads", "1"]
    status = peers.main([*call, "--rounds", "2", "--block", "0.01", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert status == 0, document["rows"]
    (row,) = document["rows"]
    ours = row["engines"]["tvmcomp"]
    assert ours["error"] < 1e-6 and len(ours["blocks_ms"]) == 2
    theirs = row["engines"]["onnxruntime"]
    pairs = np.divide(theirs["blocks_ms"], ours["blocks_ms"])
    assert row["ratio"] == pytest.approx(np.median(pairs))
    assert 0 <= row["disturbance"] < 1
    assert row["build_seconds"] > 0 and row["artifact_bytes"] > 1000 and not row["trained"]
    saved = tmp_path / "run.json"
    saved.write_text(json.dumps(document))
    assert peers.main(["--show", str(saved), str(saved)]) == 0
    assert "tiny" in capsys.readouterr().out


def test_batches_side_by_side(
    tiny: Path, zoo_cache: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = onnx.load(tiny)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, tiny)
    options = ["--batch", "1,3", "--threads", "1", "--rounds", "2", "--block", "0.01"]
    saved = tmp_path / "rows.json"
    engines = ["--engines", "tvmcomp,onnxruntime", "--json", str(saved)]
    assert batches.main([str(tiny), *options, *engines]) == 0
    first, second = json.loads(saved.read_text())["rows"]
    assert (first["batch"], second["batch"]) == (1, 3) and first["to_batch_1"] == 1
    assert second["ratio"] > 0 and second["per_second"].keys() == {"tvmcomp", "onnxruntime"}
    assert "batch 3, 1 threads: geometric mean" in capsys.readouterr().out
    assert [path.name for path in (zoo_cache / "peers").glob("*.tvmc")] == [
        "tiny-batches-tvmcomp-fp32-native.tvmc"
    ]


def test_report_names_failures_and_how_peers_were_held(capsys: pytest.CaptureFixture[str]) -> None:
    failed = Contestant("openvino", "fp32", Path("net"), failure="not [installed]")
    rows = heat_rows(heat(contestant("tvmcomp", 1), failed), HELD)
    document = {
        "machine": {"cpu": "x", "cpus": 1, "has": ["avx2"], "lacks": ["amx_int8"]},
        "note": HELD.note,
        "rows": rows,
        "summaries": summaries(rows),
    }
    print_report(document, Console(width=200))
    printed = capsys.readouterr().out
    assert "FAILED: net fp32, 1 threads: openvino: not [installed]" in printed
    assert "without amx_int8" in printed and "ONEDNN_MAX_CPU_ISA=AVX2" in printed


@pytest.mark.parametrize("call", [["--precision", "fp33"], ["--engines", "x"], ["--isa", "sse"]])
def test_wrong_command_lines(call: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        peers.main(call)
    assert error.value.code == 2


def test_unknown_network(capsys: pytest.CaptureFixture[str], zoo_cache: Path) -> None:
    assert peers.main(["resnet19"]) == 1
    assert "resnet18" in capsys.readouterr().err


def test_flags_are_read(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nflags\t\t: fpu avx2 avx512_vnni\n")
    assert cpu_flags(cpuinfo) == {"fpu", "avx2", "avx512_vnni"}
    assert isas()["native"].environment == {}
