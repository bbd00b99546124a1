"""The command line of the tuner; the tuning itself is real, the network is one kernel."""

import json
import platform

import pytest
from click.testing import CliRunner

import tvmcomp
from tvmcomp.cli.build import command as build_command
from tvmcomp.cli.tune import command
from tvmcomp.errors import TargetError
from tvmcomp.schedules import Decide
from tvmcomp.tuning.log.places import open_log
from tvmcomp.tuning.options import TuneOptions
from tvmcomp.tuning.task import Task
from tvmcomp.tuning.tuner import tune
from tvmcomp.tvm_import import tvm


def _relu():
    from tvm import te

    x = te.placeholder((8, 64), name="x")
    return te.create_prim_func([x, te.compute((8, 64), lambda i, j: te.max(x[i, j], 0.0), "y")])


def _space(schedule: tvm.s_tir.Schedule, decide: Decide) -> str:
    columns = schedule.get_loops(schedule.get_sblock("y"))[1]
    length = decide(schedule, "length", [4, 8], 8)
    schedule.vectorize(schedule.split(columns, [None, length])[1])
    return "relu"


@pytest.fixture
def one_kernel(monkeypatch):
    """Stand in for the compiler: whatever the model, it is one task."""
    asked = []

    def tune_network(
        model, *, target, trials, log, device, budget, more, linker, progress, **options
    ):
        asked.append({"model": model, "target": target, **options})
        options = TuneOptions(
            trials, budget, device, linker=linker, more=more, progress=progress, space=_space
        )
        return tune([Task("relu", _relu(), 2)], target, open_log(log), options)

    monkeypatch.setitem(vars(tvmcomp), "tune", tune_network)
    return asked


def test_table_then_found(tmp_path, one_kernel):
    (tmp_path / "net.onnx").write_bytes(b"")
    arguments = [str(tmp_path / "net.onnx"), "--trials", "3", "--log", str(tmp_path / "log")]
    arguments += ["--shape", "x=8,64", "--quant", "int8", "--calib", str(tmp_path)]
    first = CliRunner().invoke(command, arguments)
    assert first.exit_code == 0, first.output
    assert "relu" in first.output and "tuned" in first.output and "3 trials in" in first.output
    assert one_kernel[0]["shapes"] == {"x": (8, 64)} and one_kernel[0]["quant"] == "int8"
    second = CliRunner().invoke(command, [*arguments, "--json"])
    events = [json.loads(line) for line in second.stdout.splitlines()]
    assert [event["event"] for event in events] == ["tuning_started", "tuning_done"]
    (task,) = events[-1]["tasks"]
    assert task["status"] == "found" and task["trials"] == 0 and task["weight"] == 2


def test_a_damaged_log_is_said(tmp_path, one_kernel):
    (tmp_path / "net.onnx").write_bytes(b"")
    records = tmp_path / "log" / "x" / "records.jsonl"
    records.parent.mkdir(parents=True)
    records.write_text("torn\n")
    arguments = [str(tmp_path / "net.onnx"), "--trials", "1", "--log", str(tmp_path / "log")]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0 and "line skipped" in done.output


def test_the_kernels_are_those_of_a_build_with_the_same_options(tmp_path, one_kernel, monkeypatch):
    built = []
    monkeypatch.setitem(vars(tvmcomp), "build", lambda model, **options: built.append(options))
    (tmp_path / "net.onnx").write_bytes(b"")
    settings = tmp_path / "settings.toml"
    settings.write_text('keep_float = ["a"]\nobserver = "minmax"\n')
    arguments = [str(tmp_path / "net.onnx"), "--quant", "int8", "--calibration", str(tmp_path)]
    arguments += ["--quant-config", str(settings), "--keep-float", "b", "--min-sqnr", "off"]
    arguments += ["--formats", "unmeasured"]
    arguments += ["--threads", "3", "--shape", "x=8,64", "--log", str(tmp_path / "log")]
    CliRunner().invoke(command, [*arguments, "--trials", "1", "--json"], catch_exceptions=False)
    CliRunner().invoke(build_command, [*arguments, "-o", str(tmp_path / "net.tvmc")])
    (tuned,), (build,) = one_kernel, built
    for name in ("target", "quant", "calibration", "shapes", "config", "formats"):
        assert tuned[name] == build[name], name
    assert tuned["config"].keep_float == ("a", "b") and tuned["config"].min_sqnr_db is None
    assert tuned["config"].observer == "minmax" and tuned["target"].cores == 3


@pytest.mark.parametrize("text", ["", "20", "m", "-3s", "nans", "infh", "1.5 years"])
def test_a_budget_that_is_no_time(tmp_path, one_kernel, text):
    (tmp_path / "net.onnx").write_bytes(b"")
    done = CliRunner().invoke(command, [str(tmp_path / "net.onnx"), "--budget", text])
    assert done.exit_code == 2 and "90s, 20m or 1.5h" in done.output


def test_a_budget_takes_the_place_of_a_number_of_trials(tmp_path, one_kernel):
    (tmp_path / "net.onnx").write_bytes(b"")
    arguments = [str(tmp_path / "net.onnx"), "--log", str(tmp_path / "log"), "--json"]
    done = CliRunner().invoke(command, [*arguments, "--budget", "0.0001h", "--ops", "relu"])
    started = json.loads(done.stdout.splitlines()[0])
    assert started["budget"] == pytest.approx(0.36) and started["trials"] is None
    assert one_kernel[0]["operators"] == ("relu",)


def test_help_has_an_example():
    done = CliRunner().invoke(command, ["--help"])
    assert done.exit_code == 0 and "tvmcomp tune model.onnx --target rpi4" in done.output


def test_wrong_shape_is_a_usage_error(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"")
    done = CliRunner().invoke(command, [str(tmp_path / "net.onnx"), "--shape", "x:1"])
    assert done.exit_code == 2


def test_a_target_that_is_not_here_needs_a_device(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"")
    foreign = "rpi4" if platform.machine() == "x86_64" else "x86-64-v3"
    arguments = [str(tmp_path / "net.onnx"), "--target", foreign, "--log", str(tmp_path / "log")]
    done = CliRunner().invoke(command, arguments)
    assert isinstance(done.exception, TargetError) and "--device" in str(done.exception)


def test_nothing_could_be_tuned(tmp_path, one_kernel):
    """The reason is said, and the status tells a script."""
    (tmp_path / "net.onnx").write_bytes(b"")
    arguments = [str(tmp_path / "net.onnx"), "--log", str(tmp_path / "log")]
    arguments += ["--linker", "no-such-cc"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 1 and "no-such-cc" in done.output, done.output
