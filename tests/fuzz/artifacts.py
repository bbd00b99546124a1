"""Artifacts: zip, metadata and reference outputs damaged, with and without right digests."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from random import Random

import ml_dtypes
import npy
import numpy as np
import odd
import zips

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.reference import Reference
from tvmcomp.model import Operator, Signature, TensorSpec
from tvmcomp.targets.description import TargetDescription

_COMMENT = b"sha256:"
_TARGET = TargetDescription(
    name="any",
    description="any x86-64",
    family="x86",
    triple="x86_64-linux-gnu",
    link_triple="x86_64-linux-gnu",
)


@cache
def _seeds() -> list[bytes]:
    """Files of artifacts whose library is no library: it is carried, and not loaded."""
    from tempfile import TemporaryDirectory

    arrays = {
        "w": np.arange(12, dtype="float32").reshape(3, 4),
        "b": np.arange(5, dtype="int64"),
        "scalar": np.array(2, "uint8"),
        "none": np.zeros((0, 3), "float32"),
        "bf": np.arange(4).astype(ml_dtypes.bfloat16),
    }
    #: So few values that they are coded.
    coded = {
        **arrays,
        "few": (np.arange(5000) * 7 % 5).astype("int8"),
        "scales": np.linspace(0.01, 0.02, 300, dtype="float32"),
    }
    specs = tuple(TensorSpec(name, array.shape, array.dtype.name) for name, array in arrays.items())
    found = []
    with TemporaryDirectory() as folder:
        for inputs, constants, refers in (
            (specs, arrays, True),
            (specs[:1], {}, True),
            (specs[:1], coded, True),
            (specs[:1], coded, False),
        ):
            values = {spec.name: arrays[spec.name] for spec in inputs}
            made = Artifact.create(
                library=b"\x7fELF" + bytes(60),
                constants=constants,
                target=_TARGET,
                signature=Signature(inputs, inputs),
                source="net.onnx",
                source_digest="0" * 64,
                calibration={"samples": 3, "digest": "0" * 64},
                operators=(Operator("dense", "matmul", "float32", macs=12),),
                reference=Reference(values, values) if refers else None,
                notes=("a note",),
            )
            (made.small() if constants is coded else made).save(Path(folder, "a.tvmc"))
            found.append(Path(folder, "a.tvmc").read_bytes())
    return found


def make(rng: Random, folder: Path) -> Path:
    """Write one input."""
    seed = rng.choice(_seeds())
    kind = rng.randrange(8)
    if kind == 0:
        data = odd.damaged(seed, rng)
    elif kind == 1:
        data = _sealed(zips.lying(_open(seed), rng))
    elif kind == 2:
        members = zips.shuffled(zips.unpacked(seed), rng)
        data = _sealed(zips.packed(members, zips.method(rng), _COMMENT + b"0" * 64))
    elif kind == 3:
        data = _sealed(odd.damaged(_open(seed), rng))
    else:
        data = _with_members(seed, rng)
    path = folder / "a.tvmc"
    path.write_bytes(data)
    return path


def _with_members(seed: bytes, rng: Random) -> bytes:
    """Other metadata or reference outputs, and every digest right."""
    members = dict(zips.unpacked(seed))
    metadata = json.loads(members["metadata.json"])
    if "golden.npz" in members and rng.random() < 0.4:
        members["golden.npz"] = npy.changed_npz(members["golden.npz"], rng)
    elif rng.random() < 0.2:
        members["constants.bin"] = odd.damaged(members["constants.bin"], rng)
    else:
        parts = ["signature", "constants", "target", "operators", "all", "all"]
        part = rng.choice(parts)
        if part == "all" or not metadata.get(part):
            metadata = odd.edited(metadata, rng)
        else:
            metadata[part] = odd.edited(metadata[part], rng)
    if rng.random() < 0.95 and isinstance(metadata, dict):
        metadata["digests"] = {
            name: hashlib.sha256(content).hexdigest()
            for name, content in members.items()
            if name != "metadata.json"
        }
    members["metadata.json"] = odd.json_text(metadata)
    if rng.random() < 0.1:
        members["metadata.json"] = odd.damaged(members["metadata.json"], rng)
    return _sealed(zips.packed(list(members.items()), comment=_COMMENT + b"0" * 64))


def _open(seed: bytes) -> bytes:
    return zips.packed(zips.unpacked(seed), comment=_COMMENT + b"0" * 64)


def _sealed(data: bytes) -> bytes:
    """With the digest that belongs to it, where there is room for one."""
    body = data[: -len(_COMMENT) - 64]
    return body + _COMMENT + hashlib.sha256(body).hexdigest().encode()


def read(path: Path) -> None:
    """Load it, look at every byte; what was loaded is what a copy of it holds."""
    artifact = Artifact.load(path)
    copy = path.with_name("copy.tvmc")
    artifact.save(copy)
    again = Artifact.load(copy)
    for mine, theirs in zip(artifact.metadata.constants, again.metadata.constants, strict=True):
        assert (mine.name, mine.shape, mine.dtype) == (theirs.name, theirs.shape, theirs.dtype)
    assert again.metadata.signature == artifact.metadata.signature
    assert again.library == artifact.library
    assert artifact.coded.tobytes() == again.coded.tobytes()
    for mine, theirs in zip(artifact.constants, again.constants, strict=True):
        assert (mine is None) == (theirs is None)
        assert mine is None or theirs is None or mine.tobytes() == theirs.tobytes()
    if artifact.reference is not None:
        for spec in artifact.metadata.signature.outputs:
            array = artifact.reference.outputs[spec.name]
            assert array.shape == spec.shape and array.dtype.name == spec.dtype
