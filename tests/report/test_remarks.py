"""What is said before figures of artifacts that are no plain pair of one network."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace
from small_artifacts import DENSE_SIGNATURE, dense_artifact, one_kernel_artifact

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.model import Operator, Signature
from tvmcomp.report.html.assemble import Subject, report_of
from tvmcomp.report.html.summary import network_sentence
from tvmcomp.report.remarks import remarks

PLAIN, OTHER = dense_artifact(), one_kernel_artifact("double")


def of_two_shapes(artifact: Artifact) -> Artifact:
    """The artifact as if it were built for a batch of 3 as well."""
    inputs, outputs = (
        tuple(replace(spec, shape=(3, *spec.shape[1:])) for spec in specs)
        for specs in (DENSE_SIGNATURE.inputs, DENSE_SIGNATURE.outputs)
    )
    variants = (Signature(inputs, outputs),)
    return replace(artifact, metadata=replace(artifact.metadata, variants=variants))


def test_a_plain_pair_needs_none() -> None:
    assert [*remarks({"a": PLAIN, "b": PLAIN})] == []


def test_other_networks_are_told() -> None:
    (text,) = remarks({"a": PLAIN, "b": OTHER})
    assert "not one network built twice" in text


def test_the_shape_of_the_figures_is_told() -> None:
    (text,) = remarks({"a": PLAIN, "b": of_two_shapes(PLAIN)})
    assert text.startswith("b was built for 2 shapes") and text.endswith("the first, x[1, 8]")


def test_a_report_has_them(tmp_path: Path) -> None:
    path = tmp_path / "a.tvmc"
    PLAIN.save(path)
    pair = Subject("b", of_two_shapes(PLAIN), path), Subject("a", OTHER, path)
    notes = report_of(*pair).notes
    assert any("one network" in note for note in notes)
    assert any("2 shapes" in note for note in notes)


def test_one_operator_is_no_operators() -> None:
    operator = Operator("relu", "nn.relu", "float32")
    for count, said in ((1, "A network of 1 operator in"), (2, "A network of 2 operators in")):
        metadata = replace(PLAIN.metadata, operators=(operator,) * count)
        assert network_sentence(replace(PLAIN, metadata=metadata), 100).startswith(said)
