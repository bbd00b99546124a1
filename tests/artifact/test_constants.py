"""Constants in the file: they lie there, or are coded; nothing is believed."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import msgspec
import numpy as np
import pytest
from artifact.test_artifact import SIGNATURE, TARGET, forge_metadata

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.code_book import with_book
from tvmcomp.artifact.constants import CODED
from tvmcomp.errors import ArtifactError
from tvmcomp.targets.description import TargetDescription

RNG = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    """Normally distributed, of 4 bits."""
    return np.clip(np.rint(RNG.normal(size=shape) * 3), -7, 7).astype(np.int8)


CONSTANTS = {
    "w0": weights(64, 100),
    "s0": RNG.uniform(0.01, 0.02, 64).astype(np.float32),
    "empty": np.zeros((0, 4), np.float32),
    "half": RNG.uniform(0.01, 0.02, 5000).astype(ml_dtypes.bfloat16),
    "scalar": np.array(7, np.int64),
    "noise": RNG.integers(0, 256, (80, 81)).astype(np.uint8),
    "w1": weights(5000),
}
WHOLE = sum(array.nbytes for array in CONSTANTS.values())


def artifact(constants: dict[str, np.ndarray], target: TargetDescription = TARGET) -> Artifact:
    return Artifact.create(
        library=b"\x7fELF", constants=constants, target=target, signature=SIGNATURE,
        source="net.onnx", source_digest="ab" * 32,
    )  # fmt: skip


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    artifact(CONSTANTS).small().save(tmp_path / "net.tvmc")
    return tmp_path / "net.tvmc"


def test_what_is_not_asked_to_be_small_lies_where_it_is_used(tmp_path: Path) -> None:
    artifact(CONSTANTS).save(tmp_path / "net.tvmc")
    loaded = Artifact.load(tmp_path / "net.tvmc")
    assert not loaded.coded.size and loaded.constants_nbytes_in_file == WHOLE
    assert [spec.offset % 64 for spec in loaded.metadata.constants] == [0] * len(CONSTANTS)
    for ours, theirs in zip(loaded.plain_constants, CONSTANTS.values(), strict=True):
        assert ours.tobytes() == theirs.tobytes() and ours.dtype == theirs.dtype


def test_what_gains_is_coded_and_nothing_else(saved: Path) -> None:
    loaded = Artifact.load(saved)
    specs = loaded.metadata.constants
    coded = {spec.name for spec in specs if spec.offset == CODED}
    assert coded >= {"w0", "w1", "half"} and not coded & {"noise", "empty"}
    for spec, array in zip(specs, loaded.constants, strict=True):
        assert (array is None) == (spec.name in coded)
        assert array is None or array.tobytes() == CONSTANTS[spec.name].tobytes()
    assert loaded.constants_nbytes == WHOLE
    assert loaded.constants_nbytes_in_file < WHOLE - (6400 + 5000) / 2
    with pytest.raises(ArtifactError, match="are coded"):
        _ = loaded.plain_constants
    again = saved.with_name("again.tvmc")
    loaded.save(again)
    assert again.read_bytes() == saved.read_bytes()


def test_a_gpu_has_no_decoder() -> None:
    gpu = TargetDescription(
        name="g", description="d", family="cuda", triple="x86_64-linux-gnu", cuda_arch="sm_90"
    )
    with pytest.raises(ArtifactError, match="can't be coded"):
        artifact(CONSTANTS, gpu).small()


@pytest.mark.parametrize(
    ("position", "changes", "message"),
    [
        (0, {"offset": 0}, "contradict"),
        (0, {"offset": -2}, "contradict"),
        (0, {"nbytes": 6401}, "contradict"),
        (0, {"shape": (-1,)}, "contradict"),
        (0, {"dtype": "object"}, "unknown dtype"),
        (5, {"offset": CODED}, None),  # the library will find that it is not in the stream
    ],
)
def test_metadata_that_contradicts_the_file(
    saved: Path, position: int, changes: dict[str, object], message: str | None
) -> None:
    specs = list(Artifact.load(saved).metadata.constants)
    specs[position] = msgspec.structs.replace(specs[position], **changes)
    forge_metadata(saved, constants=msgspec.to_builtins(specs))
    if message is None:
        assert Artifact.load(saved).constants[position] is None
        return
    with pytest.raises(ArtifactError, match=message):
        Artifact.load(saved)


def test_a_stream_without_constants_and_the_other_way_round(tmp_path: Path) -> None:
    path = tmp_path / "net.tvmc"
    for small, offset in ((True, 0), (False, CODED)):
        made = artifact({"w": CONSTANTS["w0"]})
        (made.small() if small else made).save(path)
        (spec,) = Artifact.load(path).metadata.constants
        changed = msgspec.structs.replace(spec, offset=offset)
        forge_metadata(path, constants=[msgspec.to_builtins(changed)])
        if small:
            with pytest.raises(ArtifactError, match="contradict"):
                Artifact.load(path)
        else:
            assert Artifact.load(path).coded.size == CONSTANTS["w0"].nbytes


def test_more_values_than_a_byte_points_at_have_no_book() -> None:
    assert with_book(np.arange(257, dtype=np.float32).tobytes(), 4) is None
    assert with_book(np.tile(np.arange(256, dtype=np.float32), 40).tobytes(), 4) is not None
    late = np.concatenate([np.zeros(5000), np.arange(300)]).astype(np.float32)
    assert with_book(late.tobytes(), 4) is None
    assert with_book(bytes(5000), 1) is None
