"""`tvmcomp build` and its options, as a person calls them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import succeeds, tvmcomp
from networks import classifier, images, onnxruntime_outputs, share_of_range, tiny
from waiting import run

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.model import Operator

COMMANDS = ("bench", "build", "devices", "eval", "inspect", "run", "targets", "tune")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a model net.onnx, calibration data calib.npz, and a tiny model tiny.onnx."""
    folder = tmp_path_factory.mktemp("build")
    classifier(folder / "net.onnx")
    tiny(folder / "tiny.onnx")
    np.savez(folder / "calib.npz", x=images(4, 3, 16, 16))
    return folder


def int8(folder: Path, out: Path, *options: object) -> dict:
    calibration = ("--quant", "int8", "--formats", "asked", "--calib", folder / "calib.npz")
    return succeeds("build", folder / "net.onnx", "-o", out, *calibration, *options)


def dtypes(report: dict) -> dict[str, str]:
    """Type of each operator that has multiply-accumulates, by name."""
    return {each["name"]: each["dtype"] for each in report["operators"] if each["macs"]}


def test_the_default_name_and_the_table(folder: Path, tmp_path: Path) -> None:
    model = tiny(tmp_path / "some.net.onnx")
    done = tvmcomp("build", model)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "some.net.tvmc"
    assert f"{path}: " in done.stdout and "constants" in done.stdout and "native" in done.stdout
    assert sorted(tmp_path.iterdir()) == [model, path]
    x = images(1, 3, 8, 8)
    np.save(tmp_path / "x.npy", x)
    succeeds("run", path, "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npz")
    with np.load(tmp_path / "y.npz") as found:
        assert share_of_range(found["y"], onnxruntime_outputs(model, {"x": x})["y"]) < 1e-5


def test_json_is_one_document_with_what_was_decided(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.tvmc"
    report = int8(folder, path, "--small")
    assert report["artifact"] == str(path) and report["artifact_bytes"] == path.stat().st_size
    loaded = Artifact.load(path)
    assert report["constants_bytes"] == loaded.constants_nbytes
    assert report["constants_bytes_in_file"] == loaded.constants_nbytes_in_file
    assert any(array is None for array in loaded.constants)
    assert report["target"] == "native" and report["quant"] == "int8"
    (given,) = report["signature"]["inputs"]
    assert given == {"name": "x", "shape": [1, 3, 16, 16], "dtype": "float32"}
    assert report["calibration"]["samples"] == 4
    assert report["calibration"]["min_sqnr_db"] == 20
    assert report["calibration"]["sqnr_db"] > 20
    assert isinstance(report["notes"], list)
    for each in report["operators"]:
        assert set(each) == set(Operator.__struct_fields__)
        assert each["dtype"] == "int8" or each["reason"]
        assert (each["sqnr_db"] is not None) or each["dtype"] != "int8" or not each["macs"]
    names = ["conv_0__conv2d", "conv_2__conv2d", "conv_4__conv2d", "y__matmul"]
    assert dtypes(report) == dict.fromkeys(names, "int8")


def test_the_artifact_knows_its_graph_its_kernels_and_its_command(
    folder: Path, tmp_path: Path
) -> None:
    int8(folder, tmp_path / "net.tvmc")
    metadata = Artifact.load(tmp_path / "net.tvmc").metadata
    operators = metadata.operators
    assert all(each.inputs and max(each.inputs) < i for i, each in enumerate(operators))
    products = {i for i, each in enumerate(operators) if each.macs}
    assert products <= {i for each in metadata.kernels for call in each.calls for i in call}
    assert all(each.nbytes > 0 for each in metadata.kernels)
    assert metadata.command[:3] == ("tvmcomp", "build", str(folder / "net.onnx"))


def test_progress_is_no_output(folder: Path, tmp_path: Path) -> None:
    done = tvmcomp("build", folder / "tiny.onnx", "-o", tmp_path / "t.tvmc", "--json")
    json.loads(done.stdout)
    assert "\x1b" not in done.stdout + done.stderr  # no bars where there is no terminal


def test_keep_float_by_name_kind_and_glob(folder: Path, tmp_path: Path) -> None:
    for patterns, kept in (
        (["conv_2__conv2d"], {"conv_2__conv2d"}),
        (["conv_*"], {"conv_0__conv2d", "conv_2__conv2d", "conv_4__conv2d"}),
        (["matmul", "conv_0*"], {"conv_0__conv2d", "y__matmul"}),
    ):
        options = [part for pattern in patterns for part in ("--keep-float", pattern)]
        report = int8(folder, tmp_path / "net.tvmc", *options)
        found = dtypes(report)
        assert {name for name, dtype in found.items() if dtype == "float32"} == kept
        reasons = {each["reason"] for each in report["operators"] if each["name"] in kept}
        assert reasons == {"kept in float as asked"}


def test_the_guard_keeps_the_ratio_that_is_asked_for(folder: Path, tmp_path: Path) -> None:
    off = int8(folder, tmp_path / "off.tvmc", "--min-sqnr", "off")
    assert off["calibration"]["min_sqnr_db"] is None
    assert set(dtypes(off).values()) == {"int8"}
    everything = off["calibration"]["sqnr_db"]
    asked = everything + 6
    strict = int8(folder, tmp_path / "strict.tvmc", "--min-sqnr", asked)
    assert strict["calibration"]["all_quantized_sqnr_db"] == pytest.approx(everything)
    # The last measurement is of the final plan, in which fewer tensors are rounded: not the same.
    assert strict["calibration"]["sqnr_db"] >= asked
    kept = strict["calibration"]["kept_float"]
    reasons = {each["name"]: each["reason"] for each in strict["operators"]}
    assert kept and all(reasons[name] == "kept in float by the accuracy guard" for name in kept)
    notes = " ".join(strict["notes"])
    assert f"{len(kept)} of" in notes and "times as long" in notes


def test_weights_are_rounded_as_asked(folder: Path, tmp_path: Path) -> None:
    nearest = int8(folder, tmp_path / "nearest.tvmc", "--round", "nearest")["calibration"]
    assert (nearest["rounding"], nearest["rounding_sqnr_db"]) == ("nearest", {})
    best = int8(folder, tmp_path / "best.tvmc", "--round", "best")["calibration"]
    assert best["rounding_sqnr_db"][best["rounding"]] >= nearest["sqnr_db"]
    assert best["sqnr_db"] == pytest.approx(max(best["rounding_sqnr_db"].values()))


def test_quant_config(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "quant.toml"
    config.write_text(
        'observer = "minmax"\nmin_sqnr_db = "off"\nkeep_float = ["y__matmul"]\n'
        '[operators."conv_4*"]\ndtype = "float"\n'
        "[calibration]\nmax_samples = 2\n"
    )
    report = int8(folder, tmp_path / "net.tvmc", "--quant-config", config)
    found = report["calibration"]
    assert (found["observer"], found["min_sqnr_db"], found["samples"]) == ("minmax", None, 2)
    kept = {name for name, dtype in dtypes(report).items() if dtype == "float32"}
    assert kept == {"conv_4__conv2d", "y__matmul"}


def test_dump_writes_each_phase(folder: Path, tmp_path: Path) -> None:
    int8(folder, tmp_path / "net.tvmc", "--dump", tmp_path / "dump")
    files = sorted((tmp_path / "dump").iterdir())
    phases = [
        "imported", "channels_last", "annotated", "realize", "lower_anchors", "fuse_kernels",
        "schedule", "driver",
    ]  # fmt: skip
    positions = [
        next(i for i, file in enumerate(files) if file.stem.endswith(phase)) for phase in phases
    ]
    assert positions == sorted(positions)
    *modules, driver = files
    assert all("def main" in file.read_text() for file in modules)
    assert "tvmcomp_network" in driver.read_text()


def test_threads_and_linker(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.tvmc"
    options = ("-o", path, "--threads", 1, "--linker", "gcc")
    report = succeeds("build", folder / "tiny.onnx", *options)
    assert report["quant"] == "none"
    artifact = Artifact.load(path)
    assert artifact.metadata.target.cores == 1
    assert (
        b"GCC: (" in artifact.library
        and b"GCC: (" not in Artifact.load(_built_by_default(folder, tmp_path)).library
    )
    assert succeeds("run", path)["agrees"] is True


def test_options_by_their_old_names_work_with_a_note(folder: Path, tmp_path: Path) -> None:
    done = tvmcomp("build", folder / "tiny.onnx", "-o", tmp_path / "net.tvmc", "--cc=gcc", "--json")
    assert done.returncode == 0 and "note: --cc is called --linker now" in done.stderr
    assert b"GCC: (" in Artifact.load(tmp_path / "net.tvmc").library
    json.loads(done.stdout)
    done = tvmcomp("build", folder / "tiny.onnx", "--linker", "no-such", "--", "--cc")
    assert done.returncode == 2 and "note" not in done.stderr


def _built_by_default(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "default.tvmc"
    succeeds("build", folder / "tiny.onnx", "-o", path)
    return path


@pytest.mark.slow
def test_tuned_once(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    arguments = ("build", folder / "tiny.onnx", "--trials", 2, "--log", log)
    succeeds(*arguments, "-o", tmp_path / "first.tvmc")
    files = {path: path.read_text() for path in log.rglob("*.jsonl")}
    lines = [line for text in files.values() for line in text.splitlines()]
    assert {json.loads(line)["type"] for line in lines} == {"trial", "finished", "workload"}
    again = succeeds(*arguments, "-o", tmp_path / "second.tvmc")
    assert {path: path.read_text() for path in log.rglob("*.jsonl")} == files
    assert succeeds("run", tmp_path / "second.tvmc")["agrees"] is True
    listed = {row["id"]: row for row in succeeds("logs", "list", log)["records"]}
    (conv,) = (each for each in again["operators"] if each["kind"] == "nn.conv2d")
    assert conv["record"]["seconds"] == listed[conv["record"]["id"]]["seconds"]
    assert conv["record"]["reason"].startswith("same CPU model and features, same description")
    assert any("kernels are scheduled by tuning records" in note for note in again["notes"])
    # A log of its own is written first, and the others are read.
    second = ("--log", tmp_path / "own.db", "--log", log)
    both = succeeds("build", folder / "tiny.onnx", *second, "-o", tmp_path / "third.tvmc")
    assert [each["record"] for each in both["operators"]] == [
        each["record"] for each in again["operators"]
    ]
    assert not (tmp_path / "own.db").exists()
    events = [
        json.loads(line)
        for line in tvmcomp(
            "tune", folder / "tiny.onnx", "--trials", 2, "--log", log, "--json"
        ).stdout.splitlines()
    ]
    assert {task["status"] for task in events[-1]["tasks"]} == {"found"}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_and_does_not_import_tvm(name: str) -> None:
    code = (
        "import sys\n"
        "from tvmcomp.cli.main import cli\n"
        f"cli.main([{name!r}, '--help'], standalone_mode=False)\n"
        "slow = {'tvm', 'onnx', 'numpy'} & set(sys.modules)\n"
        "print('imported:', *sorted(slow))\n"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True)
    help_text, _, imported = done.stdout.rpartition("imported:")
    assert "tvm" not in imported.split()
    assert f"tvmcomp {name} " in help_text.partition("Example")[2]
    # `devices` and `targets` are groups: their subcommands have the option.
    assert "--json" in help_text or name in ("devices", "targets")
