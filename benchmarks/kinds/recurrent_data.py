"""Real sequences for the recurrent networks of the kinds; see data.py."""

from __future__ import annotations

import numpy as np

from benchmarks.kinds import data as kinds_data
from benchmarks.kinds.data import LETTERS, Rows, Source

#: Letters of a line of names, and lines.
LINE = 32
LINES = 4000
#: Digits of a strip, its width, columns of four pixels, and strips; the class beside the digits.
STRIP_DIGITS, STRIP = 4, 112
COLUMN = 4
STRIPS = 3000
BLANK = 10


def lines_of_names() -> Rows:
    """Names of several countries after each other, int64 (32,) letter numbers: each letter's
    country, (32,). A name may be in several lines, also of different parts of the split."""
    names, labels = kinds_data.country_names()
    rng = np.random.default_rng(5)
    ids = np.zeros((LINES, LINE), np.int64)
    tags = np.zeros((LINES, LINE), np.int64)
    for row, tag in zip(ids, tags, strict=True):
        filled = 0
        while filled < LINE:
            chosen = rng.integers(len(names))
            for letter in f"{names[chosen]} "[: LINE - filled]:
                row[filled], tag[filled] = LETTERS.find(letter) + 2, labels[chosen]
                filled += 1
    return Rows({"ids": ids}, {"scores": tags})


def strips_of_digits() -> Rows:
    """Handwritten digits beside each other, (1, 28, 112) from 0 to 1: the digit of each column of
    four pixels, (28,), or that it lies between two."""
    images, labels = kinds_data.mnist()
    rng = np.random.default_rng(6)
    strips = np.zeros((STRIPS, 1, 28, STRIP), np.float32)
    tags = np.full((STRIPS, STRIP // COLUMN), BLANK, np.int64)
    for strip, tag in zip(strips, tags, strict=True):
        left = 0
        for _ in range(STRIP_DIGITS):
            chosen, left = rng.integers(len(images)), left + int(rng.integers(0, 7))
            width = min(20, STRIP - left)
            strip[0, :, left : left + width] = images[chosen][:, 4 : 4 + width]
            tag[(left + 4) // COLUMN : (left + 16) // COLUMN] = labels[chosen]
            left += 20
    return Rows({"strip": strips}, {"scores": tags})


SOURCES = {
    "name-bigru": Source(kinds_data.name_letters, 2600, 1400),
    "names-bilstm": Source(lines_of_names, 3000, 600),
    "digits-crnn": Source(strips_of_digits, 2400, 400),
}
# `data.split` knows them as well.
kinds_data.SOURCES.update(SOURCES)
