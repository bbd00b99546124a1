"""Reference inputs and outputs: whatever arrays go in, the same values come out of the file."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.reference import Reference
from tvmcomp.errors import ArtifactError
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.targets.description import TargetDescription

TARGET = TargetDescription(name="t", description="d", family="arm", triple="aarch64-linux-gnu")
DTYPES = (
    *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
    *("float16", "float32", "float64", "bool"),
    *("bfloat16", "float8_e4m3fn", "int4"),
)
SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (0, 3), (2, 3), (2, 0, 1), (3, 4, 5))
#: The same values in every way that an array can hold them.
FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "plain": lambda a: a,
    "unpickled": lambda a: pickle.loads(pickle.dumps(a)),
    "a dtype object of its own": lambda a: a.view(a.dtype.newbyteorder("=")),
    "big endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "Fortran order": lambda a: a.copy(order="F"),
    "every other element": lambda a: np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a,
    "backwards": lambda a: np.flip(np.flip(a).copy()) if a.ndim else a,
    "read only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "broadcast": lambda a: np.broadcast_to(a, (4, *a.shape))[2],
}
NAMES = (
    *("x", "a/b:0", "../../x", "x.npy", "file", "allow_pickle", "ü" * 100, "a\\b", "a\nb", " "),
    *("", "a\0b", "\0", "n" * 70_000, "ü" * 40_000, "inputs[0]", "#"),
)


def artifact(reference: Reference, signature: Signature) -> Artifact:
    return Artifact.create(
        library=b"\x7fELF",
        constants={},
        target=TARGET,
        signature=signature,
        source="net.onnx",
        source_digest="0" * 64,
        reference=reference,
    )


def saved_and_loaded(made: Artifact, folder: Path) -> Reference:
    made.save(folder / "net.tvmc")
    reference = Artifact.load(folder / "net.tvmc").reference
    assert reference is not None
    return reference


@pytest.mark.parametrize("form", FORMS)
def test_arrays_of_every_form(form: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    specs, arrays, wanted = [], {}, {}
    for position, (dtype, shape) in enumerate(itertools.product(DTYPES, SHAPES)):
        known = np.dtype(getattr(ml_dtypes, dtype, dtype))
        values = np.asarray(random.integers(0, 8, shape)).astype(known)
        spec = TensorSpec(f"x{position}", shape, dtype)
        specs.append(spec)
        wanted[spec.name], arrays[spec.name] = values, FORMS[form](values)
    signature = Signature(tuple(specs), tuple(specs))
    found = saved_and_loaded(artifact(Reference(arrays, arrays), signature), tmp_path)
    for spec in specs:
        for array in (found.inputs[spec.name], found.outputs[spec.name]):
            assert (array.shape, array.dtype) == (spec.shape, wanted[spec.name].dtype)
            assert array.tobytes() == wanted[spec.name].tobytes()


def test_every_name(tmp_path: Path) -> None:
    specs = tuple(TensorSpec(name, (), "int32") for name in NAMES)
    arrays = {name: np.array(position, "int32") for position, name in enumerate(NAMES)}
    found = saved_and_loaded(artifact(Reference(arrays, arrays), Signature(specs, specs)), tmp_path)
    assert found.inputs == arrays
    assert found.outputs == arrays


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros(3, "float64"), r"float64\[3\], its signature says float32\[3\]"),
        (np.zeros((3, 1), "float32"), r"float32\[3, 1\]"),
        (np.zeros(3, [("a", "float32")]), "its signature says"),
        (np.zeros(3, object), "its signature says"),
        (None, "the reference inputs are"),
    ],
)
def test_arrays_that_are_not_as_the_signature_says(given: np.ndarray | None, message: str) -> None:
    signature = Signature((TensorSpec("x", (3,), "float32"),), ())
    with pytest.raises(ArtifactError, match=message):
        artifact(Reference({} if given is None else {"x": given}, {}), signature)


def test_two_tensors_of_one_name() -> None:
    spec = TensorSpec("x", (), "float32")
    with pytest.raises(ArtifactError, match="two outputs have the name 'x'"):
        artifact(Reference({}, {"x": np.array(0, "float32")}), Signature((), (spec, spec)))
    with pytest.raises(ArtifactError, match="no text"):
        artifact(Reference({}, {}), Signature((TensorSpec("\ud800", (), "float32"),), ()))
