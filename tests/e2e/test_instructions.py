"""The integer instruction that each target promises is in the assembly of the convolutions."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from networks import classifier, images, speech

from tvmcomp import frontend, targets
from tvmcomp.codegen.compile import generate
from tvmcomp.passes.pipeline import lower
from tvmcomp.progress import NoProgress
from tvmcomp.quantize import QuantConfig
from tvmcomp.quantize.choice import PrecisionChoice
from tvmcomp.quantize.data import load_samples
from tvmcomp.quantize.precision import choose_precision

#: Target -> instruction of convolutions and matrix products (of a single row another one, where it
#: needs no pairs), instruction of depthwise ones.
PROMISED = {
    "x86-64-v3": ("vpmaddwd", "vpmaddwd"),
    "x86-64-v4": ("vpmaddwd", "vpmaddwd"),
    "cascadelake": ("vpdpbusd", "vpdpbusd"),
    "sapphirerapids": ("vpdpbusd", "vpdpbusd"),
    "alderlake": ("vpdpbusd", "vpdpbusd"),
    "arm": ("sadalp", "smlal"),
    "rpi3": ("sadalp", "smlal"),
    "rpi4": ("sadalp", "smlal"),
    "rpi5": ("sdot", "sdot"),
    "graviton3": ("(smmla|sdot)", "sdot"),
    "armv7": ("vmlal", "vmlal"),
    "rpi2": ("vmlal", "vmlal"),
}


def quantized(path: Path, name: str, samples: np.ndarray) -> PrecisionChoice:
    network, here = frontend.load_model(path, {}), targets.detect()
    data = load_samples([{name: sample} for sample in samples], network.signature)
    return choose_precision(network, here, here, "int8", data, QuantConfig(), NoProgress(), None)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> PrecisionChoice:
    path = classifier(tmp_path_factory.mktemp("model") / "net.onnx")
    return quantized(path, "x", images(4, 3, 16, 16)[:, None])


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> PrecisionChoice:
    path = speech(tmp_path_factory.mktemp("model") / "net.onnx")
    samples = np.random.default_rng(0).standard_normal((4, 1, 16, 64)).astype("float32")
    return quantized(path, "x", samples)


def kernels(choice: PrecisionChoice, target_name: str) -> dict[str, str]:
    """Operator's name -> assembly of its kernel, of every convolution and matrix product."""
    target = targets.load(target_name)
    executable = generate(lower(choice.mod, target), target)
    (code,) = [module for module in executable.mod.imports if module.kind == "llvm"]
    labels = re.split(r"^([A-Za-z_]\w*):", code.inspect_source("asm"), flags=re.MULTILINE)
    found: dict[str, str] = {}
    # A kernel is its entry and, where it is parallel, the body that each thread runs.
    for label, body in zip(labels[1::2], labels[2::2], strict=True):
        if name := re.search(r"([a-z]+(?:_\d+)?)__(?:conv|matmul)", label):
            found[name[1]] = found.get(name[1], "") + body
    return found


def count(instruction: str, assembly: str) -> int:
    return len(re.findall(rf"\b{instruction}\b", assembly))


@pytest.mark.parametrize("target", PROMISED)
def test_convolutions_of_pictures(pictures: PrecisionChoice, target: str) -> None:
    found = kernels(pictures, target)
    dot, depthwise = PROMISED[target]
    assert len(found) == 4
    for name, assembly in found.items():
        assert count(depthwise if name == "conv_2" else dot, assembly) > 0, name


@pytest.mark.parametrize("target", ["x86-64-v3", "cascadelake", "rpi4", "rpi5"])
def test_convolutions_of_sequences(sequences: PrecisionChoice, target: str) -> None:
    found = kernels(sequences, target)
    dot, depthwise = PROMISED[target]
    # A window of one dimension has no rows to take four at a time.
    depthwise = {"vpdpbusd": "vpmaddwd", "sdot": "smlal"}.get(depthwise, depthwise)
    assert len(found) == 4
    for name, assembly in found.items():
        assert count(depthwise if name == "conv_2" else dot, assembly) > 0, name
