"""English sentences and Chinese characters to print or to embed, the same on every machine."""

from __future__ import annotations

import functools
import re

from benchmarks.zoo.packages import Wheel, list_members, read_member

SCIKIT_LEARN = Wheel(
    "scikit-learn", "1.7.2", "89877e19a80c7b11a2891a27c21c4894fb18e2c2e077815bcade10d34287b20d"
)


@functools.cache
def sentences() -> tuple[str, ...]:
    """About 3,900 different sentences from scikit-learn's docstrings and data descriptions."""
    found: dict[str, None] = {}  # a set that keeps its order
    for member in list_members(SCIKIT_LEARN, "sklearn/datasets/descr/", ".rst"):
        found.update(dict.fromkeys(prose(read_member(SCIKIT_LEARN, member).decode())))
    for member in list_members(SCIKIT_LEARN, "sklearn/", ".py"):
        if "/tests/" in member or "/externals/" in member:
            continue
        for docstring in re.findall(
            r'"""(.*?)"""', read_member(SCIKIT_LEARN, member).decode(), re.DOTALL
        ):
            found.update(dict.fromkeys(prose(docstring)))
    return tuple(found)


def prose(text: str) -> list[str]:
    """The plain sentences of 6 to 40 words in a text; tables, code and markup fall away."""
    result = []
    for paragraph in re.split(r"\n\s*\n", text):
        flat = " ".join(paragraph.split())
        for sentence in re.split(r"(?<=[.!?]) (?=[A-Z])", flat):
            plain = re.fullmatch(r"[A-Z][A-Za-z0-9 ,;'()/%.-]+[.!?]", sentence)
            if plain and 6 <= len(sentence.split()) <= 40 and not re.search(r"\.\.|--", sentence):
                result.append(sentence)
    return result


@functools.cache
def hanzi() -> str:
    """The 3,755 common Chinese characters: level 1 of GB 2312, rows 16 to 55 of its table."""
    pairs = (bytes([row, cell]) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF))
    return b"".join(pairs).decode("gb2312", errors="ignore")
