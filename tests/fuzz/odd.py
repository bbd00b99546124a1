"""Odd values and damaged bytes: what every kind of input is mutated with."""

from __future__ import annotations

import json
from random import Random
from typing import Any

INTEGERS = (
    *(0, 1, -1, 2, 3, 5, 7, 8, 63, 127, 128, 255, 256, 1000, 1 << 15, 1 << 16, 1 << 20),
    *(1 << 29, (1 << 31) - 1, 1 << 31, -(1 << 31), 1 << 32, 1 << 40, 1 << 53, 1 << 62),
    *((1 << 63) - 1, 1 << 63, -(1 << 63), (1 << 64) - 1, 1 << 64, 10**30),
)
FLOATS = (
    0.0,
    -0.0,
    0.1,
    -1.5,
    1e-320,
    1e38,
    1e39,
    1e308,
    float("nan"),
    float("inf"),
    -float("inf"),
)
NAMES = (
    *("", " ", "/", "..", "../../etc/passwd", "/dev/zero", "a\0b", "a\nb", "main", "x", "y"),
    *(
        "名前",
        "\u202eabc",
        "🚀",
        "%s%n",
        "[red]",
        "'\"",
        "\\",
        "a" * 300,
        "n" * 70_000,
        "-o",
        "lib.so",
    ),
)
#: Texts of JSON that Python's writer can't write, by the string that stands for them meanwhile.
_RAW = {
    "@deep list@": "[" * 100_000 + "]" * 100_000,
    "@deep object@": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "@some depth@": "[" * 600 + "]" * 600,
    "@5000 digits@": "9" * 5000,
    "@exponent@": "1e999999999",
    "@NaN@": "NaN",
    "@surrogate@": '"\\ud800"',
    "@same key@": '{"a": 1, "a": 2}',
}


def integer(rng: Random) -> int:
    """An integer, now and then a small one."""
    return rng.choice(INTEGERS) if rng.random() < 0.8 else rng.randint(-20, 300)


def scalar(rng: Random) -> Any:
    """A value of any kind that JSON has, lists and objects included."""
    kind = rng.randrange(7)
    if kind == 0:
        return integer(rng)
    if kind == 1:
        return rng.choice(FLOATS)
    if kind == 2:
        return rng.choice(NAMES)
    if kind == 3:
        return rng.choice([None, True, False, [], {}, [[]], {"": 0}])
    if kind == 4:
        return [integer(rng) for _ in range(rng.choice([1, 2, 4, 1000]))]
    if kind == 5:
        return rng.choice(list(_RAW))
    return str(integer(rng))


def damaged(data: bytes, rng: Random) -> bytes:
    """``data`` with one to four places flipped, overwritten, cut, repeated or filled."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(changed) + 1)
        length = rng.choice([1, 1, 2, 4, 8, 64, 1000])
        kind = rng.randrange(9)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 2:
            size = rng.choice([2, 4, 8])
            number = integer(rng) % (1 << 8 * size)
            changed[at : at + size] = number.to_bytes(size, rng.choice(["little", "big"]))
        elif kind == 3:
            del changed[at:]
        elif kind == 4:
            del changed[at : at + length]
        elif kind == 5:
            changed[at:at] = rng.randbytes(length)
        elif kind == 6:
            changed[at:at] = changed[at : at + length]
        elif kind == 7:
            changed[at : at + length] = bytes([rng.choice([0, 255])]) * length
        else:
            other = rng.randrange(len(changed) + 1)
            changed[at : at + length] = changed[other : other + length]
    return bytes(changed)


def edited(value: Any, rng: Random) -> Any:
    """A copy of a JSON value in which one to three values, keys or lengths are others."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice([1, 1, 2, 3])):
        places = list(_places(value))
        if not places:
            return scalar(rng)
        container, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind <= 2:
            container[key] = scalar(rng)
        elif kind == 3:
            del container[key]
        elif isinstance(container, dict):
            container[rng.choice(NAMES)] = container.pop(key) if kind == 4 else scalar(rng)
        else:
            container[key:key] = [container[key]] * rng.choice([1, 2, 1000])
    return value


def _places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def json_text(value: Any) -> bytes:
    """JSON, with what stands for the texts that can't be written replaced by them."""
    text = json.dumps(value, ensure_ascii=False)
    for name, raw in _RAW.items():
        text = text.replace(f'"{name}"', raw)
    return text.encode("utf-8", "surrogatepass")
