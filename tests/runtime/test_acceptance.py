"""A build ends with reading its artifact back and running it."""

from __future__ import annotations

import pickle
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_artifacts import ARM, HERE, X86, dense_artifact

import tvmcomp
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.reference import Reference
from tvmcomp.errors import ArtifactError
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.runtime import acceptance

INPUTS = {"x": np.ones((1, 8), "float32")}


def changed(artifact: Artifact, outputs: dict[str, np.ndarray]) -> Artifact:
    assert artifact.reference is not None
    return Artifact.create(
        library=artifact.library,
        constants=dict(zip("wb", artifact.constants, strict=True)),
        target=artifact.metadata.target,
        signature=artifact.metadata.signature,
        source="net.onnx",
        source_digest="0",
        reference=Reference(artifact.reference.inputs, outputs),
    )


def test_a_good_artifact_is_accepted() -> None:
    acceptance.accept(dense_artifact(), {})
    acceptance.accept(dense_artifact(with_reference=False), INPUTS)
    acceptance.accept(dense_artifact(X86 if HERE is ARM else ARM), {})


def test_other_outputs_than_the_reference() -> None:
    reference = dense_artifact().reference
    assert reference is not None
    outputs = {name: array + 1 for name, array in reference.outputs.items()}
    with pytest.raises(ArtifactError, match=r"net\.onnx: .*other outputs.*y, z"):
        acceptance.accept(changed(dense_artifact(), outputs), {})


def test_another_signature_than_the_networks() -> None:
    made = dense_artifact(with_reference=False)
    (y, _) = made.metadata.signature.outputs
    wrong = Signature(made.metadata.signature.inputs, (y, TensorSpec("z", (4,), "float32")))
    artifact = Artifact(
        msgspec.structs.replace(made.metadata, signature=wrong), made.library, made.constants
    )
    with pytest.raises(ArtifactError, match="its library has 'z'"):
        acceptance.accept(artifact, INPUTS)


@pytest.mark.parametrize("output", ["y\0z", "n" * 70_000, "../y", "file"])
def test_calibration_from_another_process_and_any_name(output: str, tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype("float32")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], [output])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    onnx.save(
        helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)]),
        tmp_path / "net.onnx",
    )
    samples = [
        {"x": np.random.default_rng(seed).standard_normal((1, 3, 8, 8)).astype("float32")}
        for seed in range(4)
    ]
    built = tvmcomp.build(
        tmp_path / "net.onnx",
        quant="int8",
        calibration=pickle.loads(pickle.dumps(samples)),
        log="none",
    )
    built.save(tmp_path / "net.tvmc")
    with tvmcomp.load(tmp_path / "net.tvmc") as session:
        assert list(session.run(samples[0])) == [output]
