"""Checkpoints: whole or not there, and of no other run."""

from __future__ import annotations

import json

import pytest
from small_disk import small_disk

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from tvmcomp.compress.checkpoint import Unusable, load_checkpoint, save_checkpoint  # noqa: E402
from tvmcomp.errors import ArtifactError  # noqa: E402

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3.0), "c": torch.zeros(0)}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, "run", TENSORS, '{"step":3}')
    return path


def test_it_holds_what_was_written(saved):
    tensors, state = load_checkpoint(saved, "run", TENSORS)
    assert state == '{"step":3}'
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_it_is_of_one_run(saved):
    with pytest.raises(Unusable, match="another run"):
        load_checkpoint(saved, "other", TENSORS)
    with pytest.raises(Unusable, match="other tensors"):
        load_checkpoint(saved, "run", {**{n: TENSORS[n] for n in "ab"}, "d": TENSORS["c"]})
    with pytest.raises(Unusable, match="another shape"):
        load_checkpoint(saved, "run", {**TENSORS, "a": TENSORS["a"].T})


@pytest.mark.parametrize("position", range(0, 1000, 37))
def test_no_damage_goes_unseen(saved, position):
    content = bytearray(saved.read_bytes())
    content[position % len(content)] ^= 0x11
    saved.write_bytes(content)
    with pytest.raises(Unusable):
        load_checkpoint(saved, "run", TENSORS)


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_a_part_of_one_is_none(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(Unusable):
        load_checkpoint(saved, "run", TENSORS)


def test_a_header_that_claims_much_is_refused(saved):
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}})
    saved.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(Unusable):
        load_checkpoint(saved, "run", TENSORS)


def test_a_full_disk_leaves_the_one_before(tmp_path):
    with small_disk(tmp_path, 64) as disk:
        path = disk / "c.safetensors"
        save_checkpoint(path, "run", TENSORS, "{}")
        with pytest.raises(ArtifactError, match="can't be written"):
            save_checkpoint(path, "run", {"a": torch.zeros(100_000)}, "{}")
        assert load_checkpoint(path, "run", TENSORS)[1] == "{}"
        assert [each.name for each in disk.iterdir()] == [path.name]
