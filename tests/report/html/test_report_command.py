"""`tvmcomp report`: of an artifact, of two, of a search's folder; and what it refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from made_up_reports import HOSTILE, large_report
from msgspec.structs import replace
from small_artifacts import ARM, HERE, X86, dense_artifact

import tvmcomp.report.html
from tvmcomp.cli.main import cli
from tvmcomp.errors import ConfigError
from tvmcomp.report.html.page import page

#: What npm's packages d3@7.9.2, @observablehq/plot@0.6.17 and @dagrejs/dagre@3.1.3 have.
VENDORED = {
    "d3.min.js": "912111098ea99503a6f4967361d2bbdc9dbf58cf9c678c8e27e5b02d1a07f0c1",
    "plot.umd.min.js": "4358086467740777dd788d6b27a95cebdbaefdd50c730a3060117073bd7134cb",
    "dagre.min.js": "54a503e346f93ca0bb10abe7999587e037262935687aca45eb4e4b0f64bbb578",
}
OTHER = ARM if HERE is X86 else X86


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    made = dense_artifact(source="net </script>.onnx")
    made.made_by(["tvmcomp", "build", "net </script>.onnx"]).save(tmp_path / "net.tvmc")
    return tmp_path / "net.tvmc"


def report(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["report", *map(str, arguments)])


def test_an_artifact_is_measured(artifact: Path, tmp_path: Path) -> None:
    done = report(artifact, "--threads", 1, "--json", "-o", tmp_path / "net.html")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert len(document["latencies"][0]["ms"]) >= 10
    assert [each["title"] for each in document["changes"]][:1] == ["artifact file"]
    lines = [each["line"] for each in document["commands"]]
    assert lines[0] == "tvmcomp build 'net </script>.onnx'"
    assert lines[1].startswith("tvmcomp report ") and "--threads 1" in lines[1]
    text = (tmp_path / "net.html").read_text(encoding="utf-8")
    assert "net &lt;/script&gt;.onnx" in text and "net </script>" not in text


def test_an_artifact_of_another_machine_is_shown_unmeasured(tmp_path: Path) -> None:
    dense_artifact(OTHER).save(tmp_path / "other.tvmc")
    place = tmp_path / "other.html"
    refused = report(tmp_path / "other.tvmc", "-o", place)
    assert refused.exit_code != 0 and "--no-measure" in str(refused.exception)
    done = report(tmp_path / "other.tvmc", "--no-measure", "-o", place)
    assert done.exit_code == 0, done.output
    assert "Nothing was measured" in place.read_text(encoding="utf-8")


def search_file(**changes: Any) -> dict[str, Any]:
    score = {"metric": "top1", "output": "y", "unit": "%", "samples": 500, "before": 91.0,
             "after": 90.0, "after_low": 88.0, "after_high": 92.0, "drop": 1.0, "drop_low": 0.0,
             "drop_high": 2.0}  # fmt: skip
    point = {"id": "c1", "name": HOSTILE[0], "origin": "int8 alone", "p50_ms": 1.5, "p99_ms": 2.0,
             "file_bytes": 100, "on_front": True, "artifact": "c1.tvmc", "chosen_by": score,
             "recipe": [{"name": "prune"}], "commands": ["tvmcomp build net.onnx"],
             "a_field_of_the_future": 1}  # fmt: skip
    document = {
        "version": 1,
        "model": "net.onnx",
        "target": "native",
        "metric": "top1",
        "goals": {"max_drop": 0.5, "max_latency_ms": None},
        "samples": {"fit": 10, "judge": 500},
        "original": "c0",
        "points": [{**point, "id": "c0", "artifact": "c0.tvmc"}, point],
        "best": "c1",
        "reached": True,
        "finished": False,
        "command": "tvmcomp search net.onnx",
    }
    return {**document, **changes}


def test_a_searchs_folder_shows_its_front_and_what_was_chosen(tmp_path: Path) -> None:
    for name in ("c0.tvmc", "c1.tvmc"):
        dense_artifact().save(tmp_path / name)
    (tmp_path / "front.json").write_text(json.dumps(search_file()))
    done = report(tmp_path, "--no-measure", "--json", "-o", tmp_path / "s.html")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["summary"][1] == "All goals are reached."
    assert "not finished" in document["summary"][2]
    assert document["front"]["candidates"][0]["name"] == "c1"
    assert [each["name"] for each in document["operators"]] == ["dense"]
    assert document["before"] == "the original" and document["after"] == HOSTILE[0]
    assert document["title"] == "Search: net.onnx for native"
    accuracy = document["changes"][-1]
    assert accuracy["title"] == "top1 on 500 samples, by the search"
    assert (accuracy["before_text"], accuracy["after_text"]) == ("91.00%", "90.00%")
    assert accuracy["change"].startswith("-1.00 points") and accuracy["verdict"] == "same"
    lines = [each["line"] for each in document["commands"]]
    assert lines[:2] == ["tvmcomp search net.onnx", "tvmcomp build net.onnx"]
    assert lines[2].startswith("tvmcomp report ") and len(lines) == 3


def test_a_search_without_an_artifact_is_shown(tmp_path: Path) -> None:
    for artifact in ("../outside.tvmc", "missing.tvmc"):
        points = [{"id": "c1", "name": "one", "artifact": artifact}]
        (tmp_path / "front.json").write_text(json.dumps(search_file(points=points)))
        done = report(tmp_path, "--json", "-o", tmp_path / "s.html")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["operators"] == []


@pytest.mark.parametrize("text", ["", "[]", '{"version": 1}', '{"points": [{"id": 3}]}'])
def test_a_folder_that_is_no_search_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "front.json").write_text(text)
    assert "no search's file" in str(report(tmp_path, "-o", tmp_path / "s.html").exception)
    (tmp_path / "front.json").unlink()
    assert "tvmcomp search" in str(report(tmp_path, "-o", tmp_path / "s.html").exception)


def test_a_report_that_cant_be_written_is_one_error(artifact: Path, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing" / "net.html"):
        done = report(artifact, "--no-measure", "-o", place)
        assert isinstance(done.exception, ConfigError), done.output


def test_the_page_holds_no_text_of_a_model_as_html() -> None:
    text = page(large_report(30))
    for hostile in HOSTILE:
        if "<" in hostile:
            assert hostile not in text
    assert text.count("</script>") == text.count("<script")


def test_the_libraries_are_those_of_npm() -> None:
    folder = Path(tvmcomp.report.html.__file__).parent / "vendor"
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.js")
    }
    assert found == VENDORED
    for name in ("d3", "plot", "dagre"):
        assert "ermission" in (folder / f"LICENSE.{name}").read_text()


def test_calibration_that_cant_be_read_is_left_out(tmp_path: Path) -> None:
    made = dense_artifact()
    metadata = replace(made.metadata, quant="int8", calibration={"samples": "many", "sqnr_db": []})
    replace(made, metadata=metadata).save(tmp_path / "odd.tvmc")
    done = report(tmp_path / "odd.tvmc", "--no-measure", "-o", tmp_path / "odd.html")
    assert done.exit_code == 0, done.output


def test_passwords_are_not_recorded() -> None:
    from click import Context

    from tvmcomp.cli.build import command
    from tvmcomp.cli.common import typed_line

    arguments = ["net.onnx", "--log", "postgresql://me:secret@host/db"]
    with Context(command, info_name="build") as context:
        command.parse_args(context, arguments)
        assert typed_line(context)[-1] == "postgresql://me:***@host/db"
