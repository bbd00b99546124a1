"""TOMLs: targets and quantization configs with other values, keys and structure."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import odd

from tvmcomp.quantize import QuantConfig
from tvmcomp.targets import catalog

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_VALUES = (
    *('""', '"x"', "1", "-1", "0", "true", "nan", "inf", "-inf", "1e999", "0.5", "1e-400"),
    *("[]", "[1]", '["a"]', "{}", "{a = 1}", "2026-01-01", "07:32:00", "0xff", "0o7", "1__0"),
    *(
        "9223372036854775808",
        "-9223372036854775809",
        "9" * 5000,
        "1e" + "9" * 20,
        "0x" + "f" * 9000,
    ),
    *("[" * 150 + "]" * 150, "[" * 20_000 + "]" * 20_000, "{a=" * 5000 + "1" + "}" * 5000),
    *('"\\ud800"', '"\\u0000"', "'''\na\n'''", '"\\U0010ffff"', '"a\tb"', '"' + "x" * 70_000 + '"'),
    *('"x86_64"', '"x86_64-linux-gnu"', '"arm"', '"cuda"', '"skylake"', '"int8"', '"off"', '"mse"'),
    *('["avx2", "avx2"]', '["+avx2,-sse"]', '[""]', '["avx2\\u0000"]', "[[[]]]", "[1, 2.0, 'a']"),
)
_KEYS = (
    *('""', "'a.b'", '"\\u0000"', "a.b.c", "operators", "calibration.images", "名", "a b", "="),
    *("cores", "triple", "min_sqnr_db", "keep_float", '"' + "k" * 70_000 + '"', "a" + ".a" * 5000),
)
_QUANT = """\
observer = "mse"
min_sqnr_db = 20.0
keep_float = ["/head/*", "nn.softmax"]

[operators."nn.conv2d"]
dtype = "int8"
observer = "entropy"

[operators."/stem/[ab]?"]
dtype = "float"

[calibration]
max_samples = 100

[calibration.images]
layout = "NCHW"
color = "RGB"
scale = 0.00392156862745098
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
resize = "center-crop"
resize_shorter = 256
"""
_TARGETS = [path.read_text() for path in catalog.shipped().values()]


def make(rng: Random, folder: Path) -> Path:
    """Write one input: quant.toml, or another target's file."""
    is_quant = rng.random() < 0.5
    text = _QUANT if is_quant else rng.choice(_TARGETS)
    data = odd.damaged(text.encode(), rng) if rng.random() < 0.2 else _edited(text, rng).encode()
    path = folder / ("quant.toml" if is_quant else "target.toml")
    path.write_bytes(data)
    return path


def _edited(text: str, rng: Random) -> str:
    lines = text.splitlines()
    for _ in range(rng.choice([1, 1, 2, 3])):
        at = rng.randrange(len(lines))
        key, _, value = lines[at].partition("=")
        kind = rng.randrange(7)
        if kind <= 2:
            lines[at] = f"{key or 'x'} = {rng.choice(_VALUES)}"
        elif kind == 3:
            lines[at] = f"{rng.choice(_KEYS)} = {value or '1'}"
        elif kind == 4:
            lines.insert(at, rng.choice([lines[at], f"[{rng.choice(_KEYS)}]", f"[[{key or 'x'}]]"]))
        elif kind == 5:
            del lines[at]
            lines = lines or [""]
        else:
            lines[at] = str(odd.scalar(rng))[:100_000].replace("\ud800", "")
    return "\n".join(lines)


def read(path: Path) -> None:
    """Read it as the command line does; each value is the one that Python's reader gives."""
    if path.name == "quant.toml":
        config = QuantConfig.load(path)
        config.for_operator("/head/matmul", "nn.conv2d")
        config.unmatched([("/head/matmul", "nn.conv2d")])
        found = {"observer": config.observer, "keep_float": list(config.keep_float)}
    else:
        target = catalog.read(path)
        catalog.complete(target, where=str(path)).tvm_target_dict()
        found = {"name": target.name, "cores": target.cores, "triple": target.triple}
    written = tomllib.loads(path.read_text())
    for key, value in found.items():
        assert key not in written or written[key] == value, f"{key}: {value!r}"
