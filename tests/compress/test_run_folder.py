"""What a run keeps of its work: found again by the same run, and by no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from needed import package
from networks import tiny
from small_disk import small_disk

package("torch", "compress")

import onnx  # noqa: E402

from tvmcomp.compress.run_folder import RunFolder  # noqa: E402
from tvmcomp.compress.technique import Applied  # noqa: E402
from tvmcomp.errors import ConfigError, ModelError  # noqa: E402

RUN = {"model": "a", "seed": 0}


@pytest.fixture
def network(tmp_path: Path) -> onnx.ModelProto:
    return onnx.load(tiny(tmp_path / "net.onnx"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.checkpoint"


def kept(path: Path, network: onnx.ModelProto, count: int = 2) -> None:
    folder = RunFolder(path, RUN)
    for index in range(count):
        folder.of_step(index)
        folder.keep(index, Applied(network, (f"note {index}",)), 1.5)


def test_the_same_run_finds_its_steps(path, network):
    kept(path, network)
    folder = RunFolder(path, RUN)
    assert folder.resumed
    applied, seconds = folder.finished(1)
    assert applied == Applied(network, ("note 1",)) and seconds == 1.5
    assert folder.finished(2) is None
    folder.remove()
    assert not path.exists()


def test_nothing_is_made_before_something_is_kept(path):
    folder = RunFolder(path, RUN)
    assert not folder.resumed and folder.finished(0) is None and not path.exists()
    folder.remove()


def test_without_a_path_nothing_is_kept(network):
    folder = RunFolder(None, RUN)
    folder.keep(0, Applied(network), 1)
    assert folder.finished(0) is None and folder.of_step(0) is None


def test_another_run_begins_anew(path, network):
    kept(path, network)
    folder = RunFolder(path, {**RUN, "seed": 1})
    assert not folder.resumed and folder.finished(0) is None and not path.exists()


def test_what_was_damaged_is_done_again(path, network):
    kept(path, network)
    file = path / "1.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    folder = RunFolder(path, RUN)
    assert folder.finished(0) is not None and folder.finished(1) is None
    (path / "0.onnx").unlink()
    assert RunFolder(path, RUN).finished(0) is None
    (path / "run.json").write_text('{"run": 1')
    assert RunFolder(path, RUN).finished(0) is None and not path.exists()


@pytest.mark.parametrize("left", [(), ("run.json",), (".tvmcomp-abc",), ("0",)])
def test_what_a_kill_leaves_is_no_obstacle(path, network, left):
    path.mkdir()
    for name in left:
        (path / name).write_text("")
    kept(path, network)
    assert RunFolder(path, RUN).finished(1) is not None


def test_a_folder_of_other_things_is_left_alone(path, network):
    kept(path, network)
    (path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="other things"):
        RunFolder(path, RUN)
    assert len(list(path.iterdir())) == 6
    path.with_name("file").write_text("")
    with pytest.raises(ConfigError, match="other things"):
        RunFolder(path.with_name("file"), RUN)


def test_removing_leaves_what_came_meanwhile(path, network):
    kept(path, network)
    folder = RunFolder(path, RUN)
    (path / "notes.txt").write_text("mine")
    folder.remove()
    assert [child.name for child in path.iterdir()] == ["notes.txt"]


def test_a_full_disk_is_told_of(tmp_path, network):
    (tmp_path / "disk").mkdir()
    with small_disk(tmp_path / "disk", 8) as disk:
        (disk / "much").write_bytes(bytes(4096))
        folder = RunFolder(disk / "c", RUN)
        with pytest.raises(ModelError, match="No space left on device") as found:
            for index in range(9):
                folder.keep(index, Applied(network), 1)
        assert "--checkpoint" in str(found.value)


def test_the_state_is_readable_json(path, network):
    kept(path, network, 1)
    state = json.loads((path / "run.json").read_text())
    assert state["steps"][0]["notes"] == ["note 0"] and len(state["run"]) == 64


def test_one_process_works_in_it(path: Path) -> None:
    with RunFolder(path, RUN).held():
        again = RunFolder(path, RUN)
        with pytest.raises(ConfigError, match="another process works in it"), again.held():
            pass
        with pytest.raises(ConfigError, match="another process works in it"):
            RunFolder(path, {**RUN, "seed": 1})  # which would empty it
    assert not path.exists()  # nothing was kept
